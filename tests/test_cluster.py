"""Topics of a cluster come and go."""

import uuid

import pytest
from tickcast.broker import Broker
from tickcast.cluster import Cluster
from tickcast.errors import BrokerError


def test_topics_are_made_listed_and_deleted(broker: Broker) -> None:
    cluster, name = Cluster(broker.bootstrap_servers), f"cluster-{uuid.uuid4().hex}"
    cluster.create_topic(name, 3)
    assert name in cluster.topics()
    with pytest.raises(BrokerError, match=name):
        cluster.create_topic(name)
    cluster.delete_topics([name])
    assert name not in cluster.topics()


def test_cluster_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickcast.cluster.BOOTSTRAP_TIMEOUT_MS", 100)
    with pytest.raises(BrokerError):
        Cluster("127.0.0.1:1").topics()
