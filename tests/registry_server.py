"""A schema registry for tests: simulated, a small HTTP server that speaks the calls of Confluent's REST API in use.

Numbers, error codes and the serialized form of Protobuf are as the API's reference has them; no real registry is to be
had from a package index. It can be told to be silent, to fail, or to be somebody else's web server.
"""

import base64
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = tuple[int, Any]


class RegistryServer:
    """Listens on a free port of the loopback from the start; a context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None, credentials: str = "") -> None:
        """`credentials`: `user:password` that every request must show."""
        self.requests: list[str] = []  # method and path of each
        self.failure: Answer | None = None  # what is answered to all of them
        self.silence = threading.Event()  # cleared: requests wait for it
        self.silence.set()
        self._schemas: dict[int, dict[str, Any]] = {}
        self._serialized: dict[int, str] = {}
        self._subjects: dict[str, list[int]] = {}
        self._credentials = credentials
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.silence.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = "127.0.0.1" if self._scheme == "http" else "localhost"
        return f"{self._scheme}://{host}:{self._server.server_address[1]}"

    def add(self, subject: str, text: str, kind: str = "AVRO", serialized: bytes = b"", references: Any = ()) -> int:
        """Register a schema; its number. `serialized` is the descriptor of a Protobuf file."""
        schema = {"schema": text, "schemaType": kind, "references": list(references)}
        number = next((n for n, each in self._schemas.items() if each == schema), len(self._schemas) + 1)
        self._schemas[number] = schema
        self._serialized[number] = base64.b64encode(serialized).decode()
        versions = self._subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def text(self, number: int) -> str:
        """The schema of this number."""
        found: str = self._schemas[number]["schema"]
        return found

    def subject(self, name: str) -> list[int]:
        """The numbers of the schemas registered under `name`, oldest first."""
        return list(self._subjects.get(name, ()))

    def answer(self, method: str, path: str, body: Any, authorization: str | None) -> Answer:
        """What the API says."""
        self.requests.append(f"{method} {path}")
        self.silence.wait()
        if self.failure is not None:
            return self.failure
        if self._credentials and authorization != f"Basic {base64.b64encode(self._credentials.encode()).decode()}":
            return 401, {"error_code": 401, "message": "Unauthorized"}
        path, _, query = path.partition("?")
        form = "serialized" if "format=serialized" in query else ""
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            number = int(match[1])
            if number not in self._schemas:
                return 404, {"error_code": 40403, "message": "Schema not found"}
            return 200, self._shown(number, form)
        if match := re.fullmatch(r"/subjects/([^/]+)/versions/(\d+)", path):
            number = self._subjects[match[1]][int(match[2]) - 1]
            return 200, {"subject": match[1], "version": int(match[2]), "id": number, **self._shown(number, form)}
        if match := re.fullmatch(r"/subjects/([^/]+)(/versions)?", path):
            return self._register(match[1], body) if match[2] else self._look_up(match[1], body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _shown(self, number: int, form: str) -> dict[str, Any]:
        schema = self._schemas[number]
        return schema | {"schema": self._serialized[number]} if form and schema["schemaType"] == "PROTOBUF" else schema

    def _register(self, subject: str, body: Any) -> Answer:
        return 200, {"id": self.add(subject, body["schema"], body.get("schemaType", "AVRO"))}

    def _look_up(self, subject: str, body: Any) -> Answer:
        if subject not in self._subjects:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        for version, number in enumerate(self._subjects[subject], 1):
            if self._schemas[number]["schema"] == body["schema"]:
                return 200, {"subject": subject, "version": version, "id": number, **self._schemas[number]}
        return 404, {"error_code": 40403, "message": "Schema not found"}


def _handler(registry: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is two writes, of which the second would wait for 40 ms

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: tests look at `requests`."""

        def _answer(self, body: Any) -> None:
            status, answer = registry.answer(self.command, self.path, body, self.headers["Authorization"])
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
