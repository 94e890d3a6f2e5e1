"""A shadow comes to answer by its live error, in a daemon that goes on answering, and goes back again."""

import csv
import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import feeds
import numpy as np
import onnx
import pytest
from daemons import DaemonProcess, Job, wait_until
from feeds import Feed
from tickcast import bundle, manifest, promotion_audit, promotion_record, records
from tickcast.cli import main
from tickcast.clients import Partition
from tickcast.errors import UsageError
from tickcast.in_force import ForecastsSeen, of_switches
from tickcast.manifest import GOLDEN_NAME, MANIFEST_NAME, Manifest, sealed

PARTITIONS = 2
SYMBOLS = 4
# Ticks at once, fewer than a shadow may have waiting: too few to decide, then enough, then some under each bundle.
PARTS = (1_000, 2_100, 2_100, 300, 300, 300)
WAIT_INTERVAL_S = 0.1  # the daemons need the cores
FOLLOW_INTERVAL_MS = 50


class Desk:
    """A group with a shadow: its configuration, and what its operator does."""

    def __init__(self, work: Job, shadow: Path, shadow_topic: str, control_topic: str) -> None:
        self.job = work
        self.shadow_topic = shadow_topic
        self.control_topic = control_topic
        self.audit_file = work.files / "decisions.jsonl"
        promotion = {
            "control_topic": control_topic,
            "follow_interval_ms": FOLLOW_INTERVAL_MS,
            "audit_file": str(self.audit_file),
        }
        entry = {"bundle": str(work.bundle), "shadow": str(shadow), "shadow_topic": shadow_topic}
        self.config = work.config("desk", models=[entry], promotion=promotion)

    def promote(self, *options: str) -> int:
        """`tickcast promote` with `options`; its exit status."""
        with pytest.raises(SystemExit) as ended:
            main(["promote", "--config", str(self.config), "--who", "ada", *options])
        return int(ended.value.code or 0)

    def count(self, topic: str) -> int:
        """Records in the topic."""
        held = self.job.reader.held(self.job.reader.partitions(topic))
        return sum(end - first for first, end in held.values())

    def shadow_is_done(self) -> bool:
        """Whether the shadow has answered all that was answered."""
        return self.count(self.shadow_topic) == self.count(self.job.output_topic)

    def ends(self) -> list[int]:
        """Where the input's partitions end."""
        held = self.job.reader.held(self.job.reader.partitions(self.job.input_topic))
        return [held[partition].end for partition in sorted(held)]


def wait_swapped(daemon: DaemonProcess, sha256: str) -> None:
    """Wait until that bundle answers."""

    def swapped() -> bool:
        return any(event["sha256"] == sha256 for event in daemon.events("bundle swapped"))

    wait_until(swapped, f"{sha256} answers", interval_s=WAIT_INTERVAL_S)
    assert [dict(labels)["sha256"] for labels in daemon.samples("tickcast_model_info")] == [sha256]


def louder(source: Path, target: Path) -> Path:
    """The bundle in `source`, saying ten times as much: of a market that nobody can foresee, so much more wrong."""
    shutil.copytree(source, target)
    tree = json.loads((source / MANIFEST_NAME).read_text())
    for role in ("window", "finish", "step"):
        if role in tree["graphs"]:
            path = target / tree["graphs"][role]["file"]
            path.write_bytes(_ten_times(onnx.load(path)).SerializeToString())
            tree["graphs"][role]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(source / GOLDEN_NAME) as golden:
        packed = bundle.Golden(golden["ticks"], 10 * golden["forecast"], golden["kind"]).packed()
    (target / GOLDEN_NAME).write_bytes(packed)
    tree |= {"name": "louder", "golden_sha256": hashlib.sha256(packed).hexdigest()}
    (target / MANIFEST_NAME).write_text(sealed(Manifest.model_validate(tree)).model_dump_json())
    return target


def _ten_times(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["quiet" if name == "forecast" else name for name in names]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(10, np.float32), "ten"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["quiet", "ten"], ["forecast"]))
    return model


@pytest.mark.slow
def test_a_shadow_is_promoted_by_its_error_followed_and_taken_back(
    exported,
    job: Callable[..., Job],
    topic: Callable[..., str],
    start_daemon: Callable[..., DaemonProcess],
    tmp_path: Path,
) -> None:
    quiet = exported("additive").bundle
    work = job(louder(quiet, tmp_path / "louder"), PARTITIONS)
    first, second = manifest.read(work.bundle)[1], manifest.read(quiet)[1]
    compacted = {"cleanup.policy": "compact"}
    desk = Desk(work, quiet, topic(PARTITIONS, label="shadow"), topic(config=compacted, label="control"))
    daemon = start_daemon(desk.config)
    messages = feeds.ticks(sum(PARTS), SYMBOLS, seed=7)
    parts = iter(PARTS)
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:

        def answer_part() -> None:
            """The next ticks are answered."""
            feed.send(itertools.islice(messages, next(parts)))
            feed.flush()
            work.wait_done()

        def shadow_part() -> None:
            """And by the shadow, too."""
            answer_part()
            wait_until(desk.shadow_is_done, "the shadow has answered", interval_s=WAIT_INTERVAL_S)

        daemon.wait_ready()
        shadow_part()
        assert desk.promote() == 1  # there are too few
        shadow_part()
        shadow_part()
        assert daemon.total("tickcast_shadow_dropped_ticks_total") == 0
        assert desk.promote() == 0
        wait_swapped(daemon, second)
        promoted = desk.ends()
        answer_part()
        daemon.kill()
        daemon = start_daemon(desk.config)
        daemon.wait_ready()
        assert daemon.events("model")[0]["sha256"] == second  # who starts reads what is in force
        answer_part()
        assert desk.promote("--back", "--reason", "a quiet day was enough") == 0
        wait_swapped(daemon, first)
        back = desk.ends()
        answer_part()
        assert daemon.stop() == 0
    check_written(desk, first, second)
    check_in_force(desk, [(first, [0] * PARTITIONS), (second, promoted), (first, back)])
    assert work.audit()["adds_up"]
    check_replayed(desk, tmp_path / "replayed.csv")
    refused_without_both(desk, work.config("lone"), second)


def check_replayed(desk: Desk, out: Path) -> None:
    """`tickcast backtest --from-topics` tells of each offset what was told live, by the bundle that told it."""
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "--from-topics", "--config", str(desk.config), "--out", str(out)])
    assert ended.value.code == 0
    live = {(at.number, offset): told[0] for (at, offset), told in desk.job.forecasts().items()}
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {(int(row["partition"]), int(row["offset"])) for row in rows} == live.keys()
    scale = desk.job.target_scale
    for row in rows:
        told = live[int(row["partition"]), int(row["offset"])]
        assert (row["bundle"], row["symbol"]) == (told.bundle.sha256, told.symbol)
        for horizon, value in zip(told.horizons, told.forecast, strict=True):
            assert abs(float(row[f"h{horizon}"]) - value) <= 1e-6 * max(scale, abs(value)), row


def refused_without_both(desk: Desk, config: Path, absent: str) -> None:
    """Without the bundle that was in force in between nothing is written, and it is named."""
    out = config.with_name("none.csv")
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main(["backtest", "--from-topics", "--config", str(config), "--out", str(out)])
    assert ended.value.code == UsageError.exit_status
    assert f"bundle {absent} is not at hand: name a folder with it, --bundles FOLDER" in said.getvalue()
    assert not out.exists()


def check_written(desk: Desk, first: str, second: str) -> None:
    """Every decision is in the audit file; the switches are in the control topic."""
    refused, promoted, back = promotion_audit.read(desk.audit_file)
    assert [each.decided for each in (refused, promoted, back)] == ["refused", "promoted", "back"]
    assert [(each.old, each.new) for each in (refused, promoted, back)] == [
        (first, second),
        (first, second),
        (second, first),
    ]
    assert promoted.who == "ada"
    evidence = promoted.evidence
    assert evidence is not None
    assert evidence.look_ticks == 5_000
    assert evidence.low is not None
    assert 0 < evidence.low < evidence.difference
    assert evidence.new_loss < evidence.old_loss
    written = [promotion_record.decode(record.value or b"") for record in desk.job.records(desk.control_topic)]
    assert [each.in_force for each in written] == [second, first]
    assert [each.decision for each in written] == [promoted, back]


def check_in_force(desk: Desk, switches: list[tuple[str, list[int]]]) -> None:
    """Each bundle answered from its offset on; the forecasts tell so, and, as all was answered then, the record."""
    seen = ForecastsSeen()
    for record in desk.job.records(desk.job.output_topic):
        told = records.decode(record.value or b"")
        seen.add(Partition(told.topic, told.partition), told.offset, told.sent_time_ns, told.bundle.sha256)
    *_, newest = desk.job.records(desk.control_topic)
    wanted = of_switches(promotion_record.decode(newest.value or b"").switches)
    answered = seen.table()
    for number in range(PARTITIONS):
        partition = Partition(desk.job.input_topic, number)
        expected = [(starts[number], sha256) for sha256, starts in switches]
        for table in (wanted, answered):
            assert [(each.first, each.sha256) for each in table.stretches(partition)] == expected
