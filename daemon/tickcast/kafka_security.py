"""`[kafka.security]` as each Kafka library wants it: the only place where secrets are on their way to one.

Before every stage of the way of a tick. What is wrong with a file is said here, by its setting's name, once for all
libraries: both a wrong key and a missing one come out of OpenSSL as the same five words.
"""

import ssl
from collections.abc import Iterator
from typing import Any

from tickcast import credentials
from tickcast.errors import ConfigurationError
from tickcast.security_config import SecurityConfig


def for_kafka_python(security: SecurityConfig) -> dict[str, Any]:
    """Keyword arguments of each of kafka-python's clients. Raises ConfigurationError where a file does not hold."""
    settings: dict[str, Any] = {"security_protocol": security.protocol.upper()}
    if security.encrypted:
        settings["ssl_context"] = tls_context(security)
        settings["ssl_check_hostname"] = security.hostname_check
    if security.authenticated:
        settings["sasl_mechanism"] = security.mechanism
        settings["sasl_plain_username"] = security.username
        settings["sasl_plain_password"] = password(security)
    return settings


def for_librdkafka(security: SecurityConfig) -> dict[str, str | int | bool]:
    """Settings of each of librdkafka's clients. Raises ConfigurationError where a file does not hold."""
    settings: dict[str, str | int | bool] = {"security.protocol": security.protocol}
    if security.encrypted:
        tls_context(security)
        settings["ssl.ca.location"] = security.ca_file or "probe"  # where distributions keep what they trust
        settings["ssl.endpoint.identification.algorithm"] = "https" if security.hostname_check else "none"
    if security.certificate_file:
        settings["ssl.certificate.location"] = security.certificate_file
        settings["ssl.key.location"] = security.key_file or security.certificate_file
    if security.key_password_file:
        settings["ssl.key.password"] = _key_password(security)
    if security.authenticated:
        settings["sasl.mechanism"] = security.mechanism
        settings["sasl.username"] = security.username
        settings["sasl.password"] = password(security)
    return settings


def tls_context(security: SecurityConfig) -> ssl.SSLContext:
    """What Python's TLS is told. Raises ConfigurationError where a file does not hold."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate that somebody vouches for
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = security.hostname_check
    if security.ca_file:
        try:
            context.load_verify_locations(security.ca_file)
        except OSError as error:
            raise _unusable("ca_file", security.ca_file, error) from error
    else:
        context.load_default_certs()
    if security.certificate_file:
        _load_certificate(context, security)
    return context


def password(security: SecurityConfig) -> str:
    """The user's password. Raises ConfigurationError where its file does not hold."""
    return credentials.read("kafka.security.password_file", security.password_file)


def problems(security: SecurityConfig) -> Iterator[str]:
    """Every file that does not hold, by its setting's name."""
    asked = [*([tls_context] if security.encrypted else []), *([password] if security.authenticated else [])]
    for ask in asked:
        try:
            ask(security)
        except ConfigurationError as error:
            yield str(error)


def _load_certificate(context: ssl.SSLContext, security: SecurityConfig) -> None:
    setting, key = ("key_file", security.key_file or security.certificate_file)
    credentials.read(f"kafka.security.{setting}", key)  # may others read it?
    # Without a password OpenSSL would ask for one on the terminal.
    key_password = _key_password(security) if security.key_password_file else ""
    try:
        context.load_cert_chain(security.certificate_file, key, key_password)
    except OSError as error:
        raise _unusable("certificate_file and key_file", f"{security.certificate_file}, {key}", error) from error


def _unusable(setting: str, path: str, error: OSError) -> ConfigurationError:
    reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "no PEM of this kind"
    return ConfigurationError(f"kafka.security.{setting}: {path}: cannot be used: {reason.replace('_', ' ').lower()}")


def _key_password(security: SecurityConfig) -> str:
    return credentials.read("kafka.security.key_password_file", security.key_password_file)
