"""What each library is told; and what is wrong with a file is said by the name of its setting."""

import ssl

import pytest
from certificates import Authority, encrypted_key
from tickcast import kafka_security
from tickcast.errors import ConfigurationError
from tickcast.security_config import SecurityConfig

PASSWORD = "correct-horse"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.pair("client")


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(PASSWORD)
    return str(path)


def mutual(authority, pair, **more):
    files = {"ca_file": authority.certificate, "certificate_file": pair.certificate, "key_file": pair.key, **more}
    return SecurityConfig(protocol="ssl", **{name: str(path) for name, path in files.items()})


def test_without_security_nothing_is_told_but_that():
    assert kafka_security.for_kafka_python(SecurityConfig()) == {"security_protocol": "PLAINTEXT"}
    assert kafka_security.for_librdkafka(SecurityConfig()) == {"security.protocol": "plaintext"}


def test_a_password_goes_to_each_library_under_its_own_name(authority, secret):
    security = SecurityConfig(
        protocol="sasl_ssl", ca_file=str(authority.certificate), username="desk", password_file=secret
    )
    told = kafka_security.for_kafka_python(security)
    assert {told[f"sasl_{key}"] for key in ("mechanism", "plain_username", "plain_password")} == {
        "SCRAM-SHA-512",
        "desk",
        PASSWORD,
    }
    told = kafka_security.for_librdkafka(security)
    assert told == {
        "security.protocol": "sasl_ssl",
        "ssl.ca.location": str(authority.certificate),
        "ssl.endpoint.identification.algorithm": "https",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "desk",
        "sasl.password": PASSWORD,
    }


def test_a_broker_is_asked_for_a_certificate_of_its_own_name_in_a_tls_of_today(authority, pair):
    context = kafka_security.tls_context(mutual(authority, pair))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_whose_name_a_certificate_bears_is_left_unchecked_only_where_the_configuration_says_so(authority):
    security = SecurityConfig(protocol="ssl", ca_file=str(authority.certificate), hostname_check=False)
    context = kafka_security.tls_context(security)
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert kafka_security.for_librdkafka(security)["ssl.endpoint.identification.algorithm"] == "none"


def test_a_key_behind_a_password_is_opened_with_it(authority, pair, secret):
    locked = encrypted_key(pair.key, PASSWORD)
    security = mutual(authority, pair, key_file=locked, key_password_file=secret)
    assert list(kafka_security.problems(security)) == []
    assert kafka_security.for_librdkafka(security)["ssl.key.password"] == PASSWORD


def test_a_locked_key_without_its_password_is_refused_and_nobody_is_asked_for_it(authority, pair, tmp_path, secret):
    locked = encrypted_key(pair.key, PASSWORD)
    (problem,) = kafka_security.problems(mutual(authority, pair, key_file=locked))
    assert problem.startswith(f"kafka.security.certificate_file and key_file: {pair.certificate}, {locked}: cannot be")
    (tmp_path / "secret").write_text("wrong")
    (problem,) = kafka_security.problems(mutual(authority, pair, key_file=locked, key_password_file=secret))
    assert "cannot be used" in problem
    assert "wrong" not in problem


def test_a_private_key_that_others_may_read_is_refused(authority, tmp_path):
    pair = authority.pair("open")
    pair.key.chmod(0o644)
    (problem,) = kafka_security.problems(mutual(authority, pair))
    assert problem == f"kafka.security.key_file: {pair.key}: others may read it (mode 0644); chmod 0600"


def test_another_s_key_is_refused(authority, pair):
    (problem,) = kafka_security.problems(mutual(authority, pair, key_file=authority.pair("other").key))
    assert problem.endswith("cannot be used: key values mismatch")


def test_every_file_that_does_not_hold_is_named_and_by_every_library(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    security = SecurityConfig(
        protocol="sasl_ssl", ca_file=str(tmp_path / "ca.pem"), username="desk", password_file=str(tmp_path / "absent")
    )
    first, second = kafka_security.problems(security)
    assert first.startswith(f"kafka.security.ca_file: {tmp_path / 'ca.pem'}: cannot be used: ")
    assert second == f"kafka.security.password_file: {tmp_path / 'absent'}: cannot be read: No such file or directory"
    for told in (kafka_security.for_kafka_python, kafka_security.for_librdkafka):
        with pytest.raises(ConfigurationError, match=r"kafka\.security\.ca_file"):
            told(security)
