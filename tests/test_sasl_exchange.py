"""Logins message by message, against the example of the standard and against strangers."""

import secrets

import pytest
from tickcast import sasl_exchange
from tickcast.errors import RefusedError

# RFC 7677, section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
VERDICT = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.fixture
def login(monkeypatch):
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: NONCE)
    return sasl_exchange.exchange("SCRAM-SHA-256", "user", "pencil")


def test_scram_says_what_the_standard_s_example_says(login):
    assert next(login) == FIRST
    assert login.send(CHALLENGE) == PROOF
    with pytest.raises(StopIteration):
        login.send(VERDICT)


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"\xff\x00",
        b"e=other-error",
        CHALLENGE.replace(b"rOprNG", b"another"),
        CHALLENGE.replace(b"W22Z", b"!!!!"),
        CHALLENGE.replace(b"4096", b"9999999999"),
        CHALLENGE.replace(b"4096", b"-1"),
    ],
)
def test_a_challenge_that_no_broker_sends_is_refused(login, challenge):
    next(login)
    with pytest.raises(RefusedError, match="does not know the password itself"):
        login.send(challenge)


@pytest.mark.parametrize("verdict", [b"", b"v=", b"v=AAAA", b"v=\xff", VERDICT[:-3], b"e=invalid-proof"])
def test_a_broker_that_cannot_prove_that_it_knows_the_password_is_refused(login, verdict):
    next(login)
    login.send(CHALLENGE)
    with pytest.raises(RefusedError, match="may not be the broker"):
        login.send(verdict)


def test_a_name_with_the_signs_of_the_protocol_in_it_is_written_as_the_standard_says():
    login = sasl_exchange.exchange("SCRAM-SHA-512", "a=b,c", "pencil")
    assert next(login).startswith(b"n,,n=a=3Db=2Cc,r=")


def test_plain_shows_name_and_password_once():
    login = sasl_exchange.exchange("PLAIN", "desk", "pencil")
    assert next(login) == b"\0desk\0pencil"
    with pytest.raises(StopIteration):
        login.send(b"")
