"""How long dead letters and batches may be, as the cluster says."""

from collections.abc import Callable

import pytest
from pipelines import config_with
from tickcast import records, topic_limits
from tickcast.broker import Broker
from tickcast.cluster import Cluster
from tickcast.config import KafkaConfig
from tickcast.errors import ConfigurationError
from tickcast.topic_limits import TopicLimits


def _config(bootstrap_servers: str, output: str, dead_letters: str) -> KafkaConfig:
    topics = {"output_topic": output, "dead_letter_topic": dead_letters}
    return config_with(kafka={"bootstrap_servers": bootstrap_servers, **topics}).kafka


def test_the_limits_are_the_topics_own(broker: Broker, topic: Callable[..., str]) -> None:
    whole, small = topic(label="whole"), topic(config={"max.message.bytes": "20000"}, label="small")
    servers = broker.bootstrap_servers
    assert topic_limits.ask(_config(servers, whole, small)) == TopicLimits(records.dead_letter_limit(20_000), 20_000)
    assert topic_limits.ask(_config(servers, small, whole)) == TopicLimits(records.dead_letter_limit(2**20), 20_000)
    absent = topic_limits.ask(_config(servers, whole, "absent"))
    assert absent == TopicLimits(records.dead_letter_limit(2**20), topic_limits.BATCH_BYTES_DEFAULT)


@pytest.mark.parametrize(("taken", "is_enough"), [(-1, False), (0, True)])
def test_a_topic_that_takes_less_than_a_letter_is_refused(
    monkeypatch: pytest.MonkeyPatch, taken: int, is_enough: bool
) -> None:
    taken += records.topic_bytes_min()
    monkeypatch.setattr(Cluster, "batch_bytes_max", lambda self, names: {"forecasts": None, "dead-letters": taken})
    config = _config("127.0.0.1:1", "forecasts", "dead-letters")
    if is_enough:
        assert topic_limits.ask(config).letter_bytes_max == records.LETTER_BYTES_MIN
    else:
        with pytest.raises(ConfigurationError, match=rf"dead-letters takes {taken} bytes at most .* may need"):
            topic_limits.ask(config)
