"""`python -m chaos.recovery` in short: what it says of a restart and a takeover adds up. Nothing here is a verdict on
how long anything takes."""

from contextlib import ExitStack

import pytest
from chaos import recovery_figures
from chaos.recovery import PARTITIONS, Plan, Site, restart, takeover
from chaos.recovery_figures import Restart, Span, Takeover, span
from tickcast.broker import Broker
from tickcast.errors import MissingExtraError
from tickcast.records import BundleName, Forecast

SYMBOLS = 40
TICKS = SYMBOLS * 20  # windows of 16
SPAN = Span(seconds=15.0, ticks=7_500, p50_ms=1.5, p99_ms=4.0, most_ms=9.0, received_p99_ms=3.0)
TAKEOVER = Takeover(SPAN, Span(4.0, 2_000, 1.6, 6.0, 12.0, 5.0), SPAN, replayed=330_000, taken_up_s=6.2, load=0.5)


def test_the_tables_have_the_median_restart_and_every_takeover():
    restarts = [Restart(0.5, seconds, seconds, 660_000, 6.4, 0.5) for seconds in (7.0, 6.0, 9.0)]
    text = recovery_figures.tables({"confluent-kafka": (restarts, [TAKEOVER]), "kafka-python": ([], [])})
    assert "| confluent-kafka | 660,000 | 0.50 | 7.00 | 7.00 | 6.40 | 0.5 |" in text
    assert "| confluent-kafka | 330,000 | 4.0 | 1.5 / 4.0 | 1.6 / 6.0 | 1.50 | 1.5 / 4.0 | 0.5 |" in text
    lines = [line for line in text.splitlines() if line]
    assert {line.count("|") for line in lines[:3]} == {8}
    assert {line.count("|") for line in lines[3:]} == {9}


def test_a_span_is_of_the_ticks_written_in_it():
    sent = [_forecast(at_ms, took_ms) for at_ms, took_ms in ((0, 90), (10, 1), (11, 2), (19, 3), (20, 90))]
    found = span(sent, 10_000_000, 20_000_000)
    assert (found.seconds, found.ticks, found.p50_ms, found.most_ms) == (0.01, 3, 2.0, 3.0)


def _forecast(at_ms: int, took_ms: int) -> Forecast:
    at_ns = at_ms * 1_000_000
    sent_ns = at_ns + took_ms * 1_000_000
    bundle = BundleName("a", "1", "0")
    return Forecast(1, "S", "t", 0, 0, at_ns, at_ns, at_ns, sent_ns, (1,), [0.0], "", None, 0, bundle, "finish", ())


@pytest.mark.broker
@pytest.mark.slow
def test_a_restart_and_a_takeover_rebuild_all_that_there_was(exported, tmp_path):
    plan = Plan("confluent-kafka", SYMBOLS, TICKS, 100.0, restarts=1, takeovers=1, before_s=1.0, after_s=1.0)
    try:
        broker = Broker()
        broker.start()
    except MissingExtraError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        stack.callback(broker.stop)
        site = Site(broker, exported("additive").bundle, tmp_path, plan)
        assert site.send(plan.ticks).wait() == 0
        first = site.daemon()
        stack.callback(first.kill)
        site.wait_committed()
        first.kill()
        site.send(SYMBOLS * 2).wait()
        restarted = restart(site, stack)
        assert SYMBOLS * 16 <= restarted.replayed <= TICKS
        assert restarted.forecast_s > 0
        survivor = site.daemon("survivor")
        stack.callback(survivor.kill)
        survivor.wait_ready()
        found = takeover(site, survivor, stack)
        assert found.replayed > 0
        assert found.before.ticks > 0
        held = site.topics.held(site.job.input_topic)
        assert len(held) == PARTITIONS
        whole = site.job.audit()
        assert (whole["missing"], whole["unexpected"]) == (0, 0)
