"""`[kafka.security]`: what is missing or without effect is refused, and a secret has no place in it."""

import pytest
from pydantic import ValidationError
from tickcast import config
from tickcast.errors import ConfigurationError
from tickcast.security_config import SecurityConfig

SASL = {"protocol": "sasl_ssl", "username": "desk", "password_file": "/secrets/password"}

CONFIGURATION = """
[kafka]
bootstrap_servers = "localhost:9093"
group_id = "g"
input_topics = ["ticks"]
output_topic = "forecasts"
dead_letter_topic = "dead-letters"
{}
[[models]]
bundle = "bundle"
"""


@pytest.fixture
def load(tmp_path):
    """`load(lines, **environment)` reads a configuration with `lines` in `[kafka.security]`."""

    def read(lines="", **environment):
        path = tmp_path / "desk.toml"
        path.write_text(CONFIGURATION.format(f"[kafka.security]\n{lines}"))
        return config.load(path, environment).kafka.security

    return read


def refusal(**settings):
    with pytest.raises(ValidationError) as raised:
        SecurityConfig(**settings)
    (error,) = raised.value.errors()
    return error["msg"].removeprefix("Value error, ")


def test_nothing_said_means_nothing_encrypted():
    assert SecurityConfig().protocol == "plaintext"
    assert not SecurityConfig().encrypted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"protocol": "sasl_ssl"},
            "username: required with protocol = sasl_ssl; password_file: required with protocol = sasl_ssl",
        ),
        ({**SASL, "protocol": "sasl_plaintext", "mechanism": "PLAIN"}, "mechanism: PLAIN would show the password"),
        ({"protocol": "ssl", "key_file": "/k"}, "certificate_file: required with a private key"),
        ({"ca_file": "/ca"}, "ca_file: of no use with protocol = plaintext"),
        ({"hostname_check": False}, "hostname_check: of no use with protocol = plaintext"),
        ({**SASL, "protocol": "ssl"}, "username: of no use with protocol = ssl; password_file: of no use"),
        ({**SASL, "protocol": "sasl_plaintext", "ca_file": "/ca"}, "ca_file: of no use with protocol = sasl_plaintext"),
    ],
)
def test_what_is_missing_or_without_effect_is_refused(settings, message):
    assert refusal(**settings).startswith(message)


def test_files_lie_beside_the_configuration(load, tmp_path):
    security = load('protocol = "ssl"\nca_file = "tls/ca.pem"\ncertificate_file = "/etc/tickcast/desk.pem"')
    assert security.ca_file == str(tmp_path / "tls" / "ca.pem")
    assert security.certificate_file == "/etc/tickcast/desk.pem"


CREDENTIAL = 'protocol = "sasl_ssl"\nusername = "desk"\npassword_file = "$CREDENTIALS_DIRECTORY/kafka-password"'


def test_a_credential_of_systemd_s_lies_where_the_environment_says(load):
    security = load(CREDENTIAL, CREDENTIALS_DIRECTORY="/run/credentials/tickcast@desk.service")
    assert security.password_file == "/run/credentials/tickcast@desk.service/kafka-password"


def test_a_credential_without_systemd_is_refused_by_name(load):
    with pytest.raises(ConfigurationError, match=r"kafka\.security\.password_file: CREDENTIALS_DIRECTORY is not set"):
        load(CREDENTIAL)


def test_a_file_named_in_the_environment_is_found_like_one_named_in_the_configuration(load, tmp_path):
    security = load('protocol = "ssl"', TICKCAST_KAFKA__SECURITY__CA_FILE="ca.pem")
    assert security.ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("name", ["password", "key_password", "sasl_password"])
def test_a_secret_in_the_configuration_or_the_environment_is_refused_and_not_repeated(load, name):
    for given, environment in ((f'{name} = "hunter-2-hunter"', {}), ("", {name.upper(): "hunter-2-hunter"})):
        with pytest.raises(
            ConfigurationError, match=f"kafka.security.{name}.*: no such setting; allowed: .*"
        ) as raised:
            load(given, **{f"TICKCAST_KAFKA__SECURITY__{key}": value for key, value in environment.items()})
        assert "hunter" not in str(raised.value)
        assert "password_file" in str(raised.value)
