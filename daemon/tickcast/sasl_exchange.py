"""How a password is proved to a broker: PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677), message by message.

Before every stage of the way of a tick; used by `kafka_greeting` alone, before the client library does the same.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Generator

from tickcast.errors import RefusedError

# Kafka asks for 4,096 by default; a stranger that asks for more than this wants us busy.
ITERATIONS_MAX = 1_000_000
HASHES = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256"}
STRANGER = "it does not know the password itself: this may not be the broker that it says it is"

# Yields what to send and takes what the broker answered; ends when the broker has proved itself, too.
Exchange = Generator[bytes, bytes, None]


def exchange(mechanism: str, username: str, password: str) -> Exchange:
    """The messages of one login. Raises RefusedError where the broker's are not those of one that knows us."""
    if mechanism in HASHES:
        return _scram(HASHES[mechanism], username, password.encode())
    return _plain(username, password)


def _plain(username: str, password: str) -> Exchange:
    yield f"\0{username}\0{password}".encode()


def _scram(name: str, username: str, password: bytes) -> Exchange:
    nonce = secrets.token_urlsafe(24)
    ours = f"n={username.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    theirs = yield f"n,,{ours}".encode()
    told = _attributes(theirs)
    salt, iterations = _decoded(told.get("s", "")), told.get("i", "")
    if not told.get("r", "").startswith(nonce) or not iterations.isdecimal() or int(iterations) > ITERATIONS_MAX:
        raise RefusedError(STRANGER)
    salted = hashlib.pbkdf2_hmac(name, password, salt, int(iterations) or 1)
    unproved = f"c=biws,r={told['r']}"
    signed = b",".join((ours.encode(), theirs, unproved.encode()))
    client_key = hmac.digest(salted, b"Client Key", name)
    signature = hmac.digest(hashlib.new(name, client_key).digest(), signed, name)
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    final = yield f"{unproved},p={base64.b64encode(proof).decode()}".encode()
    expected = hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)
    if not hmac.compare_digest(_decoded(_attributes(final).get("v", "")), expected):
        raise RefusedError(STRANGER)


def _attributes(message: bytes) -> dict[str, str]:
    """`a=...,b=...`: letter -> value."""
    pairs = (part.partition("=") for part in message.decode("ascii", "replace").split(","))
    return {letter: value for letter, _, value in pairs}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(STRANGER) from error
