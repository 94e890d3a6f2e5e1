"""The steps of membership that kafka-python leaves half done."""

from collections.abc import Callable, Iterator

import pytest
from client_bench import Bench, until
from tickcast.broker import Broker


@pytest.fixture
def bench(broker: Broker, topic: Callable[..., str]) -> Iterator[Bench]:
    bench = Bench("kafka-python", broker, topic)
    yield bench
    bench.close_all()


def test_partitions_that_a_topic_gains_are_taken_up(broker: Broker, bench: Bench) -> None:
    """kafka-python takes the join that this calls for as needless once its leader has shared the partitions out."""
    topic = bench.topic(partitions=2)
    member = bench.joined(topic)
    with broker.admin() as admin:
        admin.create_partitions({topic: 4})
    member.client._membership._consumer._cluster.request_update()  # else asked for every METADATA_AGE_MAX_MS only
    until(lambda: len(member.client.assignment()) == 4, member)
    assert not member.client._membership.joining
