"""Certificates for a test's own broker and its clients, made by the openssl that distributions have."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

# Long enough for the longest run, too short to be of use to anyone who finds one.
DAYS = "2"
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """Vouches for others: what it signs is trusted by who is given its `certificate`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl("req", "-x509", *_new_key(self._pair, name), "-addext", "keyUsage=critical,keyCertSign")

    @property
    def certificate(self) -> Path:
        """What a client is told to trust."""
        return self._pair.certificate

    def pair(self, name: str, names: str = NAMES) -> Pair:
        """A pair signed by this authority, for `name`; `names` are those of its host."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed_by = ("-CA", str(self._pair.certificate), "-CAkey", str(self._pair.key))
        _openssl("req", "-x509", *_new_key(pair, name), "-addext", names, *signed_by)
        return pair


@functools.cache
def encrypted_key(key: Path, password: str) -> Path:
    """The same private key, behind a password."""
    out = key.with_suffix(".encrypted.key")
    _openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(out), "-passout", f"pass:{password}")
    out.chmod(0o600)
    return out


def _new_key(pair: Pair, name: str) -> tuple[str, ...]:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", str(pair.key))
    return (*key, "-out", str(pair.certificate), "-days", DAYS, "-subj", f"/CN={name}")


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
