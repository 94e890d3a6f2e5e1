"""The audit of dependencies against an index of the test's own."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dependency_audit
import pytest
from dependency_audit import UntoldError, audit, pins

PINNED = [("kafka-python", "3.0.12"), ("numpy", "2.4.6")]


@pytest.fixture
def index() -> Iterator[Callable[..., str]]:
    """`index({path: answer})` is the address of an index that answers so, and 404 elsewhere."""
    answers: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()

        def start(given: dict[str, object]) -> str:
            answers.update(given)
            return f"http://127.0.0.1:{server.server_address[1]}/simple"

        yield start
        server.shutdown()
        thread.join()


def told(*vulnerabilities: dict[str, object]) -> dict[str, object]:
    return {"vulnerabilities": list(vulnerabilities)}


def test_what_is_vulnerable_is_named_with_its_cure(index: Callable[..., str]) -> None:
    known = {"id": "PYSEC-1", "fixed_in": ["3.0.13"], "summary": "reads too much", "withdrawn": None}
    withdrawn = {"id": "PYSEC-2", "fixed_in": [], "withdrawn": "2026-01-01T00:00:00Z"}
    url = index({"/pypi/kafka-python/3.0.12/json": told(known, withdrawn), "/pypi/numpy/2.4.6/json": told()})
    assert audit(url, PINNED) == ["kafka-python 3.0.12: PYSEC-1, fixed in 3.0.13: reads too much"]


def test_what_was_looked_into_and_accepted_is_not_named(
    index: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependency_audit, "ACCEPTED", {"PYSEC-1": "only its command line is"})
    url = index({"/pypi/numpy/2.4.6/json": told({"id": "PYSEC-1"})})
    assert audit(url, PINNED[1:]) == []


@pytest.mark.parametrize(
    ("answers", "message"), [({}, "answers 404"), ({"/pypi/numpy/2.4.6/json": {"info": {}}}, "does not name")]
)
def test_an_index_that_does_not_tell_is_no_failure_but_said(
    index: Callable[..., str], answers: dict[str, object], message: str
) -> None:
    with pytest.raises(UntoldError, match=message):
        audit(index(answers), PINNED[1:])


def test_an_index_that_is_away_is_no_failure_but_said() -> None:
    with pytest.raises(UntoldError, match="cannot be reached"):
        audit("http://127.0.0.1:1/simple", PINNED)


def test_every_pin_is_read() -> None:
    assert pins("# pinned\nkafka-python==3.0.12\nnumpy==2.4.6\n") == PINNED
