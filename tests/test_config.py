"""The configuration: read, overridden, and refused with every problem at once."""

import pytest
from tickcast.config import load
from tickcast.errors import ConfigurationError

TOML = """
[kafka]
bootstrap_servers = "127.0.0.1:9092"
group_id = "g"
input_topics = ["ticks"]
output_topic = "forecasts"
dead_letter_topic = "dead"

[[models]]
bundle = "/models/a"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "desk-1.toml"
    path.write_text(TOML)
    return path


def test_what_is_not_given_has_its_default_and_the_name_is_the_files(file):
    config = load(file, {})
    assert (config.name, config.instance_id, config.kafka.start) == ("desk-1", "desk-1", "latest")


def test_the_environment_overrides_strings_numbers_lists_and_the_first_bundle(file):
    config = load(
        file,
        {
            "TICKCAST_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
            "TICKCAST_KAFKA__POLL_RECORDS_MAX": "7",
            "TICKCAST_KAFKA__INPUT_TOPICS": '["a", "b"]',
            "TICKCAST_MODELS__0__BUNDLE": "/models/b",
            "TICKCAST_HTTP__PORT": "0",
            "OTHER": "ignored",
        },
    )
    assert config.kafka.bootstrap_servers == "broker:9092"
    assert config.kafka.poll_records_max == 7
    assert config.kafka.input_topics == ("a", "b")
    assert (str(config.models[0].bundle), config.http.port) == ("/models/b", 0)


def test_every_problem_is_told_at_once_with_key_value_and_what_is_allowed(file):
    file.write_text(
        TOML.replace('group_id = "g"', 'group_id = ""\npol_timeout_ms = 5\nstart = "soon"') + "[http]\nport = 99999\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    lines = str(caught.value).splitlines()
    for part in ("kafka.group_id", "kafka.pol_timeout_ms", "kafka.start", "http.port"):
        assert any(f"desk-1.toml: {part}" in line for line in lines), part
    assert any("less than or equal to 65535" in line and "99999" in line for line in lines)


def test_an_unknown_setting_is_refused_with_those_there_are_and_a_missing_one_is_named(file):
    file.write_text(TOML.replace('group_id = "g"', "grup_id = 'g'") + "symbol = ['A']\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    text = str(caught.value)
    assert "kafka.grup_id: no such setting; allowed: batch_bytes_max, bootstrap_servers" in text
    assert "kafka.group_id: required and not given" in text
    allowed = "allow_untrained_symbols, bundle, shadow, shadow_topic, symbols"
    assert f"models.0.symbol: no such setting; allowed: {allowed}" in text


def test_a_misspelled_setting_of_a_model_is_told_and_not_that_there_is_no_model(file):
    file.write_text(TOML.replace("bundle =", "bundel ="))
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    told = [line.removeprefix(f"{file}: ").partition(":")[0] for line in str(caught.value).splitlines()]
    assert sorted(told) == ["models.0.bundel", "models.0.bundle"]


@pytest.mark.parametrize("topic", ["forecasts", "dead"])
def test_a_topic_that_is_read_and_written_is_refused(file, topic):
    file.write_text(TOML.replace('["ticks"]', f'["ticks", "{topic}"]'))
    with pytest.raises(ConfigurationError, match=f"kafka.input_topics: {topic}: also written to"):
        load(file, {})


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_overrides(file):
    environment = {
        "TICKCAST_PORT": "tcp://10.0.0.1:9464",
        "TICKCAST_PORT_9464_TCP_ADDR": "10.0.0.1",
        "TICKCAST_SERVICE_HOST": "10.0.0.1",
        "TICKCAST_SERVICE_PORT": "9464",
        "TICKCAST_SERVICE_PORT_METRICS": "9464",
    }
    assert load(file, environment) == load(file, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TICKCAST_KAFKA__NOTHING", "1"),
        ("TICKCAST_NAME__X", "1"),
        ("TICKCAST_MODELS__3__BUNDLE", "x"),
        ("TICKCAST_MODELS__X", "1"),
    ],
)
def test_an_override_of_what_is_no_setting_is_refused(file, name, value):
    with pytest.raises(ConfigurationError):
        load(file, {name: value})


def test_a_file_that_is_absent_or_not_toml_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent\.toml: cannot be read"):
        load(tmp_path / "absent.toml", {})
    (tmp_path / "broken.toml").write_text("[kafka")
    with pytest.raises(ConfigurationError, match=r"broken\.toml: not TOML"):
        load(tmp_path / "broken.toml", {})


def test_a_relative_bundle_starts_at_the_files_folder(file):
    file.write_text(TOML.replace("/models/a", "models/a"))
    assert load(file, {}).models[0].bundle == file.parent / "models/a"


def test_a_wrong_override_names_its_variable(file):
    with pytest.raises(ConfigurationError, match="set by TICKCAST_KAFKA__GROPU_ID in the environment"):
        load(file, {"TICKCAST_KAFKA__GROPU_ID": "x"})


@pytest.mark.parametrize("start", ['"erliest"', "-1", "true", "1.5"])
def test_a_wrong_start_is_one_problem_that_says_what_is_allowed(file, start):
    file.write_text(TOML.replace('group_id = "g"', f'group_id = "g"\nstart = {start}'))
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    (line,) = str(caught.value).splitlines()
    assert "kafka.start: must be 'latest', 'earliest' or epoch milliseconds" in line
