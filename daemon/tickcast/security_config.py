"""`[kafka.security]`: how the daemon shows the cluster who it is, and how it knows that it is the cluster.

Part of the configuration. It holds no secret, only where each lies: whatever prints a configuration prints none.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tickcast.config_section import Section

# Set by systemd for a unit with LoadCredential= or SetCredentialEncrypted= (systemd.exec(5)).
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
CREDENTIAL_PREFIX = f"${CREDENTIALS_DIRECTORY}/"

TLS_FILES = ("ca_file", "certificate_file", "key_file", "key_password_file")
FILES = (*TLS_FILES, "password_file")


class SecurityConfig(Section):
    """Encryption and authentication towards the brokers."""

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="`ssl`: encrypted (TLS 1.2 or later); `sasl_`: with a user name and a password"
    )
    ca_file: str = Field(
        "", description="certificates (PEM) of whoever may vouch for the brokers; empty: those the system trusts"
    )
    hostname_check: bool = Field(True, description="whether a broker's certificate must name the host that was asked")
    certificate_file: str = Field(
        "", description="the daemon's own certificate (PEM), where the brokers ask for one; empty: none"
    )
    key_file: str = Field("", description="its private key (PEM); empty: in `certificate_file`")
    key_password_file: str = Field("", description="file with the private key's password; empty: it has none")
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="with `sasl_`: how the password is proved; `PLAIN` shows it: `sasl_ssl` only"
    )
    username: str = Field("", description="with `sasl_`: the user")
    password_file: str = Field(
        "", description="with `sasl_`: file with the password; `$CREDENTIALS_DIRECTORY/NAME`: systemd's credential NAME"
    )

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol in ("ssl", "sasl_ssl")

    @property
    def authenticated(self) -> bool:
        """Whether a password is asked for."""
        return self.protocol in ("sasl_plaintext", "sasl_ssl")

    @field_validator(*FILES)
    @classmethod
    def _credentials_are_there(cls, path: str) -> str:
        if path.startswith(CREDENTIAL_PREFIX):
            raise ValueError(f"{CREDENTIALS_DIRECTORY} is not set: systemd sets it for a unit with LoadCredential=")
        return path

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "SecurityConfig":
        if problems := [*self._lacking(), *self._useless()]:
            raise ValueError("; ".join(problems))
        return self

    def _lacking(self) -> Iterator[str]:
        if self.authenticated:
            for name in ("username", "password_file"):
                if not getattr(self, name):
                    yield f"{name}: required with protocol = {self.protocol}"
        if self.mechanism == "PLAIN" and self.protocol == "sasl_plaintext":
            yield "mechanism: PLAIN would show the password to the network: needs protocol = sasl_ssl"
        if not self.certificate_file and (self.key_file or self.key_password_file):
            yield "certificate_file: required with a private key"

    def _useless(self) -> Iterator[str]:
        """What would have no effect is a mistake: somebody believes that his connections are safer than they are."""
        if not self.encrypted:
            unused = [name for name in TLS_FILES if getattr(self, name)]
            unused += [] if self.hostname_check else ["hostname_check"]
            yield from (f"{name}: of no use with protocol = {self.protocol}" for name in unused)
        if not self.authenticated:
            unused = [name for name in ("username", "password_file") if getattr(self, name)]
            yield from (f"{name}: of no use with protocol = {self.protocol}" for name in unused)


def locate(section: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> None:
    """Make the paths in `section` absolute, before it is validated: of credentials, else from `folder` on."""
    credentials = environment.get(CREDENTIALS_DIRECTORY)
    for name in FILES:
        path = section.get(name)
        if not isinstance(path, str) or not path:
            continue
        if path.startswith(CREDENTIAL_PREFIX):
            if credentials:
                section[name] = str(Path(credentials, path.removeprefix(CREDENTIAL_PREFIX)))
        else:
            section[name] = str(folder / path)
