"""A broker that lets in only who shows a certificate (port `MTLS`) or proves a password (port `SASL`), for tests.

Its plain port remains, for those who prepare topics and look at results.
"""

import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from certificates import Authority, Pair, encrypted_key
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from tickcast import state_topic
from tickcast.broker import HOST, Broker, Listener

USER = "desk"
# Each is looked for in all that a daemon says and writes: nothing else may look like them.
PASSWORD = "correct-horse-7f3a9c"
KEY_PASSWORD = "battery-staple-51d2e8"
WRONG_PASSWORD = "wrong-donkey-c04b6f"
SECRETS = (PASSWORD, KEY_PASSWORD, WRONG_PASSWORD)

PEM = {"ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM"}


class SecuredBroker(Broker):
    """`with SecuredBroker(folder) as broker:` has users, certificates, and the settings that each port asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.client = self.authority.pair("client")
        self._ports = {"MTLS": _free_port(), "SASL": _free_port()}
        listeners = {
            "MTLS": Listener(self._ports["MTLS"], "SSL"),
            "SASL": Listener(self._ports["SASL"], "SASL_SSL"),
        }
        server = _keystore(self.authority.pair("broker"), folder / "broker.pem")
        super().__init__(settings=_settings(self.authority, server), listeners=listeners)

    def start(self) -> None:
        """Start, and make the user known to SCRAM."""
        super().start()
        with self.admin() as admin:
            user = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)
            assert admin.alter_user_scram_credentials([user]) == {USER: None}

    def topic(self, partitions: int = 1) -> str:
        """A topic that nobody else uses."""
        name = f"topic-{uuid.uuid4().hex[:12]}"
        self.create_topic(name, partitions)
        self.create_topic(f"{name}-state", partitions, state_topic.SETTINGS)  # in case forecasts go there
        return name

    def servers(self, listener: str) -> str:
        """The address of a port."""
        return f"{HOST}:{self._ports[listener]}"

    def secret(self, name: str, content: str) -> str:
        """A file with a secret, for us alone."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(f"{content}\n")
        return str(path)

    def ways_in(self) -> dict[str, dict[str, Any]]:
        """Name -> `[kafka]` settings with which a client is let in."""
        certificate = {"certificate_file": str(self.client.certificate)}
        key = {"key_file": str(encrypted_key(self.client.key, KEY_PASSWORD))}
        key["key_password_file"] = self.secret("key-password", KEY_PASSWORD)
        password = {"username": USER, "password_file": self.secret("password", PASSWORD)}
        return {
            "plaintext": {"bootstrap_servers": self.bootstrap_servers},
            "mtls": self._way("MTLS", {"protocol": "ssl", **certificate, **key}),
            "scram": self._way("SASL", {"protocol": "sasl_ssl", **password}),
            "plain": self._way("SASL", {"protocol": "sasl_ssl", "mechanism": "PLAIN", **password}),
        }

    def refused(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Name -> `[kafka]` settings with which a client is not let in, and what is said of it."""
        ways, stranger = self.ways_in(), Authority(self.folder / "stranger")
        scram, mtls = ways["scram"], ways["mtls"]
        wrong = {"password_file": self.secret("wrong-password", WRONG_PASSWORD)}
        strange = stranger.pair("client")
        untrusted = {"certificate_file": str(strange.certificate), "key_file": str(strange.key)}
        open_way = {"protocol": "ssl", "ca_file": str(self.authority.certificate)}
        return {
            "wrong password": (
                _with(scram, wrong),
                "invalid credentials with SASL mechanism SCRAM-SHA-512",
            ),
            "wrong password shown": (_with(ways["plain"], wrong), "Invalid username or password (user desk)"),
            "unknown mechanism": (
                _with(scram, {"mechanism": "SCRAM-SHA-256"}),
                "it does not know the mechanism SCRAM-SHA-256, but SCRAM-SHA-512, PLAIN",
            ),
            "broker of a stranger": (
                _with(scram, {"ca_file": str(stranger.certificate)}),
                "its certificate is not to be trusted: unable to get local issuer certificate",
            ),
            "certificate of a stranger": ({**mtls, "security": {**open_way, **untrusted}}, "certificate unknown"),
            "no certificate": ({**mtls, "security": open_way}, "certificate required"),
            "no password": ({**scram, "security": open_way}, "it asks for a password, by SCRAM-SHA-512, PLAIN"),
            "password at the wrong port": ({**scram, **_servers(mtls)}, "certificate required"),
            "plain at a port for TLS": (_servers(scram), "it answers in TLS"),
            "TLS at a plain port": ({**mtls, **_servers(ways["plaintext"])}, "is this its port for TLS?"),
        }

    def _way(self, listener: str, security: Mapping[str, str]) -> dict[str, Any]:
        trusted = {"ca_file": str(self.authority.certificate)}
        return {"bootstrap_servers": self.servers(listener), "security": {**trusted, **security}}


def flat(way: Mapping[str, Any]) -> dict[str, Any]:
    """The same as keys of one table, `security.protocol` and so on."""
    security = {f"security.{name}": value for name, value in way.get("security", {}).items()}
    return {**{name: value for name, value in way.items() if name != "security"}, **security}


def _with(way: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    return {**way, "security": {**way["security"], **changes}}


def _servers(way: Mapping[str, Any]) -> dict[str, Any]:
    return {"bootstrap_servers": way["bootstrap_servers"]}


def _settings(authority: Authority, server: Path) -> dict[str, str]:
    login, user = "org.apache.kafka.common.security", f'user_{USER}="{PASSWORD}"'
    stores = {**PEM, "ssl.keystore.location": str(server), "ssl.truststore.location": str(authority.certificate)}
    return {
        **{f"listener.name.{name}.{key}": value for name in ("mtls", "sasl") for key, value in stores.items()},
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.sasl.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": f"{login}.plain.PlainLoginModule required {user};",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
    }


def _keystore(pair: Pair, path: Path) -> Path:
    """Key and certificate in one file, as Kafka wants them."""
    path.write_text(pair.key.read_text() + pair.certificate.read_text())
    return path


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port
