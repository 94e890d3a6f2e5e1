"""Several bundles in one daemon: each answers its own symbols, killed or not, and the audit finds them all."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import exported as exports
import feeds
import pytest
from daemons import DaemonProcess, Job
from feeds import Feed
from tickcast import manifest, toml_text
from tickcast.cli import main

PARTITIONS = 2
TICKS = 1_500
SMALL_STEPS = {"poll_records_max": 40, "commit_interval_ms": 100, "delivery": "exactly_once"}
LIMITS = {"record_bytes_max": feeds.OVERSIZE_BYTES}


@pytest.mark.slow
def test_killed_in_a_transaction_two_bundles_of_different_windows_answer_every_tick_once(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    rules = exports.RULES.model_copy(update={"window": exports.RULES.window + 8, "max_gap_s": None})
    shorter, longer = exported("additive").bundle, exports.export("additive", tmp_path, rules, seed=2).bundle
    work = job(shorter, PARTITIONS)
    models = [
        {"bundle": str(shorter), "symbols": ["SIM-[0-2]"], "allow_untrained_symbols": True},
        {"bundle": str(longer), "symbols": ["SIM-[34]"], "allow_untrained_symbols": True},
    ]
    config = work.config(input=LIMITS, kafka=SMALL_STEPS, models=models)
    messages = list(feeds.with_bad_records(feeds.ticks(TICKS, seed=4, silence_every=100), every=100))
    with Feed(work.bootstrap_servers, work.input_topic, PARTITIONS) as feed:
        feed.send(messages[: TICKS // 2])
        feed.flush()
        killed = start_daemon(config)
        work.wait_published(TICKS // 4)
        killed.kill()
        daemon = start_daemon(config)
        feed.send(messages[TICKS // 2 :])
        feed.flush()
        work.wait_done()
        named = {dict(labels)["sha256"] for labels in daemon.samples("tickcast_model_info")}
        assert daemon.stop() == 0
    whole = work.audit(input=LIMITS, kafka=SMALL_STEPS, models=models)
    assert whole["adds_up"], whole
    assert whole["skipped_by_reason"] == {
        "no_model": sum(message.key == b"SIM-5" for message in messages if _good(message))
    }
    answers = Counter((copy.bundle.sha256, copy.symbol) for copies in work.forecasts().values() for copy in copies)
    first, second = manifest.read(shorter)[1], manifest.read(longer)[1]
    assert answers.keys() == {(first, f"SIM-{n}") for n in range(3)} | {(second, f"SIM-{n}") for n in (3, 4)}
    assert named == {first, second}
    recoveries = daemon.events("partition taken up")
    assert {event["recovery"] for event in recoveries} == {"metadata"}
    assert any(event["replay_from"] < event["publish_from"] for event in recoveries)


def test_check_config_tells_which_symbols_two_entries_claim(exported, tmp_path: Path, capsys) -> None:
    bundle = str(exported("additive").bundle)
    topics = {"input_topics": ["t"], "output_topic": "f", "dead_letter_topic": "d"}
    tables = {"kafka": {"bootstrap_servers": "127.0.0.1:1", "group_id": "g", **topics}}
    models = [{"bundle": bundle, "symbols": ["SIM-?"]}, {"bundle": bundle, "symbols": ["*-1"]}]
    config = tmp_path / "desk.toml"
    config.write_text(toml_text.document(tables, {"models": models}))
    with pytest.raises(SystemExit) as ended:
        main(["check-config", "--config", str(config)])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "models.1.symbols: '*-1' overlaps with 'SIM-?' of models.0.symbols" in told
    assert ": ok; instance" in told


def _good(message: feeds.Message) -> bool:
    return message.value not in feeds.BAD_VALUES
