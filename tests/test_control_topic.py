"""The control topic: the newest record of each key counts, strange ones are passed over, and entries follow it."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from factories import manifest_with
from pipelines import config_with
from test_promotion_record import decision
from tickcast import control_topic, manifest, promotion_record
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.config import Config
from tickcast.control_topic import ControlTopic
from tickcast.errors import BundleError
from tickcast.manifest import MANIFEST_NAME
from tickcast.promotion_record import Control

TOPIC = "control"
KEY = "group/*"


class Topic:
    """What a `TopicReader` would read, one partition."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.begin = 0  # compaction took what was before
        self.read_from: list[int] = []

    def write(self, value: bytes | None, key: bytes | None = KEY.encode()) -> None:
        self.records.append(Record(Partition(TOPIC, 0), len(self.records), 0, key, value, ()))

    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, 0)]

    def held(self, partitions: list[Partition]) -> dict[Partition, OffsetRange]:
        return {partition: OffsetRange(self.begin, len(self.records)) for partition in partitions}

    def read(self, ranges: Mapping[Partition, OffsetRange]) -> Iterator[Record]:
        for first, end in ranges.values():
            self.read_from.append(first)
            yield from self.records[first:end]


def control(bundles: list[str], key: str = KEY) -> Control:
    """From the first of these bundles to the last."""
    made = None
    for sequence, (old, new) in enumerate(pairwise(bundles), 1):
        made = promotion_record.following(
            made, msgspec.structs.replace(decision(sequence, old, new), model=key), {"ticks": {0: sequence}}
        )
    assert made is not None
    return made


def bundle(folder: Path, name: str) -> tuple[Path, str]:
    """A folder with a manifest, and its sha256."""
    (folder / name).mkdir()
    tree = json.loads(manifest.sealed(manifest_with(name=name)).model_dump_json())
    (folder / name / MANIFEST_NAME).write_text(json.dumps(tree))
    return folder / name, manifest.read(folder / name)[1]


@pytest.fixture
def both(tmp_path: Path) -> tuple[Config, str, str]:
    """A configuration with a bundle and its shadow, and their sha256s."""
    (first, first_sha256), (second, second_sha256) = bundle(tmp_path, "first"), bundle(tmp_path, "second")
    config = config_with(models=[{"bundle": str(first), "shadow": str(second)}])
    return config, first_sha256, second_sha256


def test_the_newest_record_of_a_key_counts_and_each_is_read_once():
    topic = Topic()
    followed = ControlTopic(topic, TOPIC)
    assert not followed.read()
    topic.write(promotion_record.encode(control(["a" * 64, "b" * 64])))
    assert followed.read()
    assert not followed.read()
    topic.write(promotion_record.encode(control(["a" * 64, "b" * 64, "a" * 64])))
    assert followed.read()
    assert followed.controls[KEY].in_force == "a" * 64
    assert topic.read_from == [0, 0, 1, 1]


def test_a_record_that_changes_nothing_is_nothing_new():
    topic = Topic()
    followed = ControlTopic(topic, TOPIC)
    for _ in range(2):
        topic.write(promotion_record.encode(control(["a" * 64, "b" * 64])))
    assert followed.read()
    topic.write(promotion_record.encode(control(["c" * 64, "b" * 64])))
    assert not followed.read()


@pytest.mark.parametrize("value", [b"", b"\xff", b"{}", b"[" * 100_000, None])
def test_strange_records_are_passed_over(value):
    topic = Topic()
    topic.write(promotion_record.encode(control(["a" * 64, "b" * 64])))
    topic.write(value)
    topic.write(promotion_record.encode(control(["a" * 64, "c" * 64])), key=b"somebody else")
    topic.write(promotion_record.encode(control(["a" * 64, "c" * 64])), key=None)
    followed = ControlTopic(topic, TOPIC)
    followed.read()
    assert {key: each.in_force for key, each in followed.controls.items()} == {KEY: "b" * 64}


def test_what_compaction_took_is_not_asked_for():
    topic = Topic()
    followed = ControlTopic(topic, TOPIC)
    followed.read()
    for _ in range(3):
        topic.write(promotion_record.encode(control(["a" * 64, "b" * 64])))
    topic.begin = 2
    followed.read()
    assert topic.read_from == [0, 2]


def test_the_bundle_in_force_answers_and_the_other_is_its_shadow(both):
    config, first, second = both
    [entry] = config.models
    assert control_topic.applied(config, {}).config == config
    [swapped] = control_topic.applied(config, {KEY: control([first, second])}).config.models
    assert (swapped.bundle, swapped.shadow) == (entry.shadow, entry.bundle)
    again = control_topic.applied(config, {KEY: control([first, second, first])})
    assert again.config == config
    assert again.remarks == ()


def test_a_bundle_in_force_that_is_not_configured_is_said_and_the_configured_one_answers(both):
    config, first, _ = both
    applied = control_topic.applied(config, {KEY: control([first, "e" * 64])})
    assert applied.config == config
    [remark] = applied.remarks
    assert "models.0" in remark
    assert "e" * 64 in remark


def test_where_the_configured_bundle_is_away_the_one_in_force_answers_all_the_same(both):
    config, first, second = both
    (config.models[0].bundle / MANIFEST_NAME).unlink()
    [entry] = control_topic.applied(config, {KEY: control([first, second])}).config.models
    assert entry.bundle == config.models[0].shadow
    with pytest.raises(BundleError):
        control_topic.applied(
            config_with(models=[{"bundle": str(config.models[0].bundle)}]), {KEY: control([first, second])}
        )


def test_a_key_tells_entries_and_groups_apart_however_long_their_symbols():
    def keys(*symbols: list[str]) -> list[str]:
        config = config_with(models=[{"bundle": "bundle", "symbols": each} for each in symbols])
        return [control_topic.key_of(config, entry) for entry in config.models]

    assert keys(["A*", "B"], ["*"]) == ["group/A*,B", "group/*"]
    many = [f"SYMBOL-{number}" for number in range(500)]
    long = keys(many, [*many, "ONE-MORE"])
    assert len(set(long)) == 2
    assert all(len(key) < 249 for key in long)
    assert keys(["*"]) != [control_topic.key_of(config_with(kafka={"group_id": "other"}), config_with().models[0])]
