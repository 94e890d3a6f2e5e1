"""Shows the daemon to a broker once, before a client library does, so that a refusal is said, and said at once.

Before every stage of the way of a tick. Both libraries take a wrong password and a strange certificate for a broker
that is away: they try again until their time is up, and then name neither. Here one connection gets as far as being
let in. All that is said on it is SaslHandshake and SaslAuthenticate (kafka.apache.org/protocol), of which the former is
how a port without passwords tells that it is one.
"""

import socket
import ssl
import struct
from contextlib import closing

from tickcast import kafka_security, sasl_exchange
from tickcast.config import KafkaConfig
from tickcast.errors import BrokerError, RefusedError
from tickcast.security_config import SecurityConfig

# A broker answers in milliseconds; one that is slower is left to the client's own patience.
TIMEOUT_S_MAX = 5.0
ANSWER_BYTES_MAX = 1_048_576
PORT_DEFAULT = 9092

# Request -> its number and the version used, the oldest that every broker since 1.0 knows.
SASL_HANDSHAKE, SASL_AUTHENTICATE = (17, 1), (36, 0)
# The error code of SaslHandshake that comes with those it knows.
UNSUPPORTED_MECHANISM = 33
# How TLS says that it does not understand: the first bytes of an alert.
TLS_ALERT = b"\x15\x03"

NO_TLS = "it closed the connection where TLS begins: is this its port for TLS?"
IS_TLS = "it answers in TLS: set kafka.security.protocol to ssl or sasl_ssl"


def greet(config: KafkaConfig) -> None:
    """Return when a broker of `kafka.bootstrap_servers` lets us in, or when none of them can be reached.

    Raises RefusedError or BrokerError, with all reasons, where those that can be reached do not let us in, and
    ConfigurationError where a file of `kafka.security` does not hold.
    """
    timeout_s = min(TIMEOUT_S_MAX, config.request_timeout_ms / 1_000)
    refusals: list[str] = []
    kind: type[BrokerError] = BrokerError
    for server in config.bootstrap_servers.split(","):
        try:
            _be_let_in(*_address(server), config.security, timeout_s)
            return
        except BrokerError as error:
            refusals.append(f"{server.strip()} refuses us: {error}")
            kind = kind if error.retriable else RefusedError
        except (OSError, OverflowError, UnicodeError):
            continue  # it is away, which passes, or no address at all: the client waits, and says what it makes of it
    if refusals:
        raise kind("\n".join(refusals))


def _address(server: str) -> tuple[str, int]:
    """Host and port, `host`, `host:port` or `[address]:port`."""
    host, _, port = server.strip().rpartition(":")
    if not host or not port.isdecimal():
        return server.strip(), PORT_DEFAULT
    return host.strip("[]"), int(port)


def _be_let_in(host: str, port: int, security: SecurityConfig, timeout_s: float) -> None:
    try:
        with closing(_connected(host, port, security, timeout_s)) as connection:
            talk = _Talk(connection)
            _check_handshake(talk.ask(SASL_HANDSHAKE, _string(security.mechanism.encode())), security)
            if security.authenticated:
                _authenticate(talk, security)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(f"its certificate is not to be trusted: {error.verify_message}") from error
    except (ssl.SSLEOFError, ConnectionResetError) as error:
        if not security.encrypted:
            raise  # as brokers do that are about to end, and what stands before one that is away
        raise BrokerError(NO_TLS) from error
    except ssl.SSLError as error:  # an alert of its own: a certificate that it asks for, or does not trust
        raise RefusedError(f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}") from error


def _connected(host: str, port: int, security: SecurityConfig, timeout_s: float) -> socket.socket:
    bare = socket.create_connection((host, port), timeout_s)
    if not security.encrypted:
        return bare
    with closing(bare):  # which is empty once its connection is the encrypted socket's
        return kafka_security.tls_context(security).wrap_socket(bare, server_hostname=host)


def _check_handshake(handshake: "_Answer", security: SecurityConfig) -> None:
    """Raise RefusedError where password and port do not go together."""
    code = handshake.int16()
    offered = ", ".join(handshake.string().decode("utf-8", "replace") for _ in range(handshake.int32()))
    if security.authenticated and code == UNSUPPORTED_MECHANISM:
        raise RefusedError(f"it does not know the mechanism {security.mechanism}, but {offered}")
    if security.authenticated and code:
        raise RefusedError(f"it takes no password (error {code}): is this its port for passwords?")
    if not security.authenticated and offered:
        raise RefusedError(f"it asks for a password, by {offered}: set kafka.security.protocol to sasl_ssl")


def _authenticate(talk: "_Talk", security: SecurityConfig) -> None:
    login = sasl_exchange.exchange(security.mechanism, security.username, kafka_security.password(security))
    token = next(login)
    while True:
        answer = talk.ask(SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
        code, reason = answer.int16(), answer.string()
        if code:
            raise RefusedError(f"{reason.decode('utf-8', 'replace')} (user {security.username})")
        try:
            token = login.send(answer.token())
        except StopIteration:
            return


class _Talk:
    """Requests and answers on one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def ask(self, request: tuple[int, int], body: bytes) -> "_Answer":
        """The body of the answer to a request. Raises BrokerError for what is no answer."""
        message = struct.pack(">hhih", *request, 0, -1) + body  # correlation 0, no client id
        self._connection.sendall(struct.pack(">i", len(message)) + message)
        head = self._read(4)
        if head.startswith(TLS_ALERT):
            raise RefusedError(IS_TLS)
        (size,) = struct.unpack(">i", head)
        if not 4 <= size <= ANSWER_BYTES_MAX:
            raise RefusedError("it does not answer as Kafka does")
        return _Answer(self._read(size)[4:])

    def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            part = self._connection.recv(size - len(read))
            if not part:
                raise ConnectionResetError
            read += part
        return bytes(read)


class _Answer:
    """Takes the fields of an answer in turn."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def int16(self) -> int:
        """A number of two bytes."""
        return self._number(">h", 2)

    def int32(self) -> int:
        """A number of four bytes."""
        return self._number(">i", 4)

    def string(self) -> bytes:
        """A string; none is an empty one."""
        return self._take(max(0, self.int16()))

    def token(self) -> bytes:
        """What a mechanism is told."""
        return self._take(max(0, self.int32()))

    def _number(self, form: str, size: int) -> int:
        number: int = struct.unpack(form, self._take(size))[0]
        return number

    def _take(self, size: int) -> bytes:
        taken, self._content = self._content[:size], self._content[size:]
        if len(taken) < size:
            raise RefusedError("it does not answer as Kafka does")
        return taken


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text
