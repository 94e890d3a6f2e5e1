"""`[registry]`: the schema registry that Avro and Protobuf records name their schemas by.

Part of the configuration. It holds no secret, only where each lies.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from tickcast.config_section import Section
from tickcast.security_config import CREDENTIAL_PREFIX, CREDENTIALS_DIRECTORY

TLS_FILES = ("ca_file", "certificate_file", "key_file", "key_password_file")
FILES = (*TLS_FILES, "password_file")


class RegistryConfig(Section):
    """A registry that speaks Confluent's REST API."""

    url: str = Field(
        "",
        pattern=r"^(https?://[^\s@?#,]+(,https?://[^\s@?#,]+)*)?$",
        description="schema registry, or several of one cluster with commas between; empty: there is none",
    )
    ca_file: str = Field(
        "", description="certificates (PEM) of whoever may vouch for the registry; empty: those the system trusts"
    )
    certificate_file: str = Field(
        "", description="the daemon's own certificate (PEM), where the registry asks for one; empty: none"
    )
    key_file: str = Field("", description="its private key (PEM); empty: in `certificate_file`")
    key_password_file: str = Field("", description="file with the private key's password; empty: it has none")
    username: str = Field("", pattern=r"^[^:]*$", description="user of basic authentication; empty: none is used")
    password_file: str = Field(
        "", description="file with the user's password; `$CREDENTIALS_DIRECTORY/NAME`: systemd's credential NAME"
    )
    timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = Field(
        2_000, description="longest wait for each step of one answer; the loop never waits for it"
    )

    @field_validator(*FILES)
    @classmethod
    def _credentials_are_there(cls, path: str) -> str:
        if path.startswith(CREDENTIAL_PREFIX):
            raise ValueError(f"{CREDENTIALS_DIRECTORY} is not set: systemd sets it for a unit with LoadCredential=")
        return path

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "RegistryConfig":
        if problems := [*self._lacking(), *self._useless()]:
            raise ValueError("; ".join(problems))
        return self

    @property
    def encrypted(self) -> bool:
        """Whether every registry is asked over TLS."""
        return bool(self.url) and all(url.startswith("https:") for url in self.url.split(","))

    def _lacking(self) -> Iterator[str]:
        if bool(self.username) != bool(self.password_file):
            yield "username and password_file: needed together"
        if self.username and self.url and not self.encrypted:
            yield "username: would show the password to the network: needs https"
        if not self.certificate_file and (self.key_file or self.key_password_file):
            yield "certificate_file: required with a private key"

    def _useless(self) -> Iterator[str]:
        """What would have no effect is a mistake, as in `kafka.security`."""
        if not self.url:
            unused = [name for name in (*FILES, "username") if getattr(self, name)]
            yield from (f"{name}: of no use without url" for name in unused)
        elif not self.encrypted:
            yield from (f"{name}: of no use without https" for name in TLS_FILES if getattr(self, name))
