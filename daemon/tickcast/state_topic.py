"""The topic that live state is kept in: its name, whether one is wanted, and whether it is fit for it.

Before every stage of the way of a tick. The daemon makes no topic: what is missing is said, with the command.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tickcast import log
from tickcast.bands import scored_horizons
from tickcast.clients import Partition
from tickcast.cluster import Cluster
from tickcast.config import Config
from tickcast.errors import ConfigurationError
from tickcast.manifest import Manifest
from tickcast.recovery_config import NONE

# What such a topic is made with. Small segments, as the newest is never compacted, and a takeover reads all of it.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "cleanup.policy": "compact",
        "segment.bytes": "16777216",
        "segment.ms": "3600000",
        "min.cleanable.dirty.ratio": "0.1",
    }
)


class StateTopic(NamedTuple):
    """A topic that is there, with so many partitions."""

    name: str
    partitions: int

    def place_of(self, source: Partition) -> Partition:
        """Where the state of an input partition is kept: whoever takes it over reads one partition."""
        return Partition(self.name, source.number % self.partitions)


def wanted(config: Config, manifests: Sequence[Manifest]) -> str | None:
    """The topic, where `manifests` have anything to keep: bands, scores, or what drift is measured against."""
    return config.state_topic if any(map(_has_state, manifests)) else None


def found(
    config: Config,
    manifests: Sequence[Manifest],
    partitions_of: Callable[[str], frozenset[int]],
    cleanup_policy_of: Callable[[str], str | None],
) -> StateTopic | None:
    """The topic, where one is wanted. Raises ConfigurationError where it is not there, or not compacted."""
    name = wanted(config, manifests)
    if name is None:
        return None
    partitions = len(partitions_of(name))
    if not partitions:
        needed = max(1, *(len(partitions_of(topic)) for topic in config.kafka.input_topics))
        raise ConfigurationError(
            f"recovery.state_topic: {name} does not exist; create it, or set it to {NONE!r}, and bands, scores and "
            f"drift begin anew with each start:\n  {command(config, name, needed)}"
        )
    policy = cleanup_policy_of(name)
    if policy is None:
        log.get("state_topic").warning("not told whether it is compacted", topic=name)
    elif "compact" not in policy:
        change = f"--alter --entity-type topics --entity-name {name} --add-config {','.join(_settings())}"
        raise ConfigurationError(
            f"recovery.state_topic: {name} is not compacted (cleanup.policy={policy}) and would grow for ever:\n"
            f"  kafka-configs.sh --bootstrap-server {config.kafka.bootstrap_servers} {change}"
        )
    return StateTopic(name, partitions)


def cleanup_policy_of(config: Config) -> Callable[[str], str | None]:
    """Asks the configured cluster."""
    return Cluster(config.kafka.bootstrap_servers, config.kafka.security).cleanup_policy


def command(config: Config, name: str, partitions: int) -> str:
    """What makes the topic, by Kafka's own tool."""
    options = " ".join(f"--config {each}" for each in _settings())
    servers = config.kafka.bootstrap_servers
    return f"kafka-topics.sh --bootstrap-server {servers} --create --topic {name} --partitions {partitions} {options}"


def _settings() -> list[str]:
    return [f"{key}={value}" for key, value in SETTINGS.items()]


def _has_state(manifest: Manifest) -> bool:
    return bool(manifest.reference_columns and scored_horizons(manifest)) or bool(manifest.reference_quantiles)
