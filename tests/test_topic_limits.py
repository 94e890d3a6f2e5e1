"""How long batches, and so dead letters, may be, as the cluster says."""

from collections.abc import Callable

import pytest
from pipelines import config_with
from tickcast import kafka_greeting, records, topic_limits
from tickcast.broker import Broker
from tickcast.cluster import Cluster
from tickcast.config import KafkaConfig
from tickcast.errors import ConfigurationError


def _config(bootstrap_servers: str, output: str, dead_letters: str) -> KafkaConfig:
    topics = {"output_topic": output, "dead_letter_topic": dead_letters}
    return config_with(kafka={"bootstrap_servers": bootstrap_servers, **topics}).kafka


def test_the_limit_is_that_of_the_topic_that_takes_least(broker: Broker, topic: Callable[..., str]) -> None:
    whole, small = topic(label="whole"), topic(config={"max.message.bytes": "20000"}, label="small")
    config = _config(broker.bootstrap_servers, whole, small)
    assert topic_limits.applied(config) == config.model_copy(update={"batch_bytes_max": 20_000})
    config = _config(broker.bootstrap_servers, small, whole)
    assert topic_limits.applied(config).batch_bytes_max == 20_000
    config = _config(broker.bootstrap_servers, whole, "absent")
    assert topic_limits.applied(config) == config


@pytest.mark.parametrize(("taken", "is_enough"), [(-1, False), (0, True)])
def test_a_topic_that_takes_less_than_a_letter_is_refused(
    monkeypatch: pytest.MonkeyPatch, taken: int, is_enough: bool
) -> None:
    taken += records.topic_bytes_min()
    monkeypatch.setattr(kafka_greeting, "greet", lambda config: None)
    monkeypatch.setattr(Cluster, "batch_bytes_max", lambda self, names: {"forecasts": None, "dead-letters": taken})
    config = _config("127.0.0.1:1", "forecasts", "dead-letters")
    if is_enough:
        limit = topic_limits.applied(config).batch_bytes_max
        assert records.dead_letter_limit(limit) == records.LETTER_BYTES_MIN
    else:
        with pytest.raises(ConfigurationError, match=rf"dead-letters takes {taken} bytes at most .* may need"):
            topic_limits.applied(config)
