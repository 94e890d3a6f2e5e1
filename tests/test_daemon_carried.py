"""The mode `carried` in a real daemon: killed and started again, the same forecasts; refused without a certificate."""

import threading
from collections.abc import Callable

import feeds
import models
import pytest
from daemons import DaemonProcess, Job, assert_same_forecasts
from feeds import Feed
from tickcast import toml_text
from tickcast.commands.check_config import check_config
from tickcast.errors import ConfigurationError

PARTITIONS = 2
TICKS = 3_000
CARRIED = {"mode": "carried"}
# Many commits on the way, and other batches than the undisturbed run has.
SMALL_STEPS = {"poll_records_max": 40, "commit_interval_ms": 20}


def test_killed_in_between_every_tick_gets_the_forecast_of_an_undisturbed_run(
    exported, job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess]
) -> None:
    disturbed = job(exported("additive").bundle, PARTITIONS)
    undisturbed = job(disturbed.bundle, PARTITIONS, of=disturbed)
    windowed = job(disturbed.bundle, PARTITIONS, of=disturbed)
    config = disturbed.config(kafka=SMALL_STEPS, inference=CARRIED)
    messages = list(feeds.ticks(TICKS, seed=5, silence_every=400))
    with Feed(disturbed.bootstrap_servers, disturbed.input_topic, PARTITIONS) as feed:
        first = start_daemon(config)
        arriving = threading.Thread(target=feed.send, args=(messages,))
        arriving.start()
        disturbed.wait_published(TICKS // 3)
        first.kill()
        arriving.join()
        feed.flush()
        second = start_daemon(config)
        disturbed.wait_done()
        assert second.samples("tickcast_forecasts_total")[frozenset({("path", "carried")})] > 0
        assert second.stop() == 0
        for other, inference in ((undisturbed, CARRIED), (windowed, {})):
            daemon = start_daemon(other.config(inference=inference))
            other.wait_done()
            assert daemon.stop() == 0
        assert undisturbed.audit()["adds_up"]
        assert disturbed.audit()["missing"] == 0
        found, wanted, exact = disturbed.forecasts(), undisturbed.forecasts(), windowed.forecasts()
        assert_same_forecasts(found, wanted, disturbed.target_scale)
    assert {forecast.path for copies in found.values() for forecast in copies} == {"carried"}
    apart = [abs(exact[source][0].forecast[0] - copies[0].forecast[0]) for source, copies in wanted.items()]
    assert max(apart) > 1e-3 * disturbed.target_scale, "the windowed answer"


def test_a_bundle_without_the_certificate_ends_the_daemon_with_status_78_and_its_name(
    job: Callable[..., Job], start_daemon: Callable[..., DaemonProcess], tmp_path
) -> None:
    bundle = models.written("stacked", tmp_path / "bundle").folder
    daemon = start_daemon(job(bundle).config(inference=CARRIED))
    assert daemon.wait() == 78
    assert f"{bundle}: not certified for inference.mode = carried" in daemon.text()


def test_check_config_names_the_bundle_that_is_not_certified_for_the_mode(tmp_path):
    bundle = models.written("stacked", tmp_path / "bundle").folder
    file = tmp_path / "desk.toml"
    kafka = {"bootstrap_servers": "127.0.0.1:1", "group_id": "g", "input_topics": ["t"], "output_topic": "f"}
    tables = {"kafka": kafka | {"dead_letter_topic": "d"}, "inference": CARRIED}
    file.write_text(toml_text.document(tables, {"models": [{"bundle": str(bundle)}]}))
    with pytest.raises(ConfigurationError, match=r"not certified for inference\.mode = carried"):
        check_config(file)
