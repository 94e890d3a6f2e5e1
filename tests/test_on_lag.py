"""Ticks that come faster than answers: which ones are answered, what their forecasts say of the others, and that the
audit sees through every mistake in it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_client import MemoryClient, MemoryCluster
from numpy.typing import NDArray
from pipelines import Line, config_with
from pydantic import ValidationError
from thorough import examples
from tickcast import audit, records
from tickcast.clients import Headers, OffsetRange, Partition, Record
from tickcast.config import Config
from tickcast.lag_config import LagConfig
from tickcast.manifest import WindowRules
from toy_carried import ToyCarried, certificate
from toy_engine import ToyEngine

LETTERS = "dead-letters"
INPUT = Partition("ticks", 0)
COLUMNS = ("value",)
TIME_NS = 1_700_000_000_000_000_000
# Timestamps that every poll finds too old, and those that none does.
OLD_MS, FRESH_MS = 0, 4_000_000_000_000
MAX_AGE_MS = 60_000

Sent = Sequence[tuple[str, bytes | None, bytes | None, Headers]]
Step = tuple[str, int, int]  # symbol, milliseconds since the tick before, Kafka timestamp in ms
Poll = tuple[list[Step], int]  # what comes together, and idle turns after it

polls = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from("ABC"), st.integers(-1, 7), st.sampled_from([OLD_MS, FRESH_MS])),
            min_size=1,
            max_size=12,
        ),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)
rules = st.builds(
    WindowRules,
    window=st.integers(1, 3),
    max_gap_s=st.sampled_from([None, 0.02]),
    order=st.sampled_from(["accept", "reset"]),
)
lags = st.sampled_from(
    [
        {"on_lag": "latest"},
        {"on_lag": "latest", "max_age_ms": MAX_AGE_MS},
        {"max_age_ms": MAX_AGE_MS, "on_stale": "skip"},
        {"on_lag": "latest", "max_age_ms": MAX_AGE_MS, "on_stale": "skip"},
    ]
)


class OftenNan(ToyEngine):
    """Its answer to every third window or so is not finite."""

    def _answer(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        answers = super()._answer(values)
        answers[(2 * values).astype(np.int64) % 3 == 0] = np.nan
        return answers


class Desk:
    """A log that grows poll by poll, and the daemons that answer it one after the other."""

    def __init__(
        self,
        given_rules: WindowRules,
        lag: dict[str, object],
        engine: type[ToyEngine] = ToyEngine,
        mode: str = "windowed",
        recovery: dict[str, int] | None = None,
        **kafka: object,
    ) -> None:
        self.cluster = MemoryCluster()
        self.config = config_with(lag=lag, kafka=kafka, inference={"mode": mode}, recovery=recovery or {})
        self.sent: list[tuple[str, bytes | None, bytes | None, Headers]] = []
        self.polled: list[list[int]] = []  # offsets
        self.answers: list[list[records.Forecast]] = []  # to each poll
        self._rules = given_rules
        self._engine = engine
        self._time_ns = TIME_NS
        self.start()

    def start(self, splits: bool = True) -> None:
        """A daemon that goes on from what is committed."""
        self.line = self._line(self.config, self.cluster, splits)
        self.line.turn()

    def _line(self, config: Config, cluster: MemoryCluster, splits: bool = True) -> Line:
        engine, carried = self._engine(self._rules, COLUMNS, splits), None
        if config.inference.mode == "carried":
            manifest = engine.bundle.manifest.model_copy(update={"carried": certificate(7)})
            engine.bundle = replace(engine.bundle, manifest=manifest)
            carried = ToyCarried(engine, folds=True)
        return Line(config, MemoryClient(cluster, [INPUT]), engine, carried)

    def kill(self) -> None:
        """It commits nothing on its way out."""
        client = self.line.client
        self.sent += client.visible if self.config.kafka.delivery == "exactly_once" else client.sent
        self.line.close()

    def poll(self, steps: Sequence[Step], idle: int = 0) -> list[records.Forecast]:
        """What is published when these ticks come in one poll."""
        first = self.cluster.end(INPUT)
        for symbol, milliseconds, timestamp_ms in steps:
            self._time_ns += milliseconds * 1_000_000
            offset = self.cluster.end(INPUT)
            tick = {"symbol": symbol, "event_time_ns": self._time_ns, "value": offset**2 % 97}
            self.cluster.append(INPUT, msgspec.json.encode(tick))
            log = self.cluster.topics[INPUT]
            log[-1] = msgspec.structs.replace(log[-1], timestamp_ms=timestamp_ms)
        before = len(self.line.client.sent)
        self.line.turn(1)
        self.polled.append(list(range(first, self.cluster.end(INPUT))))
        self.answers.append(_forecasts(self.line.client.sent[before:]))
        self.line.turn(idle)
        return self.answers[-1]

    def undisturbed(self) -> dict[int, records.Forecast | None]:
        """What every tick's forecast would be, by its offset; None: not finite."""
        again = MemoryCluster()
        again.topics[INPUT] = self.cluster.topics[INPUT]
        line = self._line(self.config.model_copy(update={"lag": LagConfig()}), again)
        line.turn(4)
        line.close()
        buried = {records.source_of(headers)[1]: None for topic, *_, headers in line.client.sent if topic == LETTERS}
        return {forecast.offset: forecast for forecast in _forecasts(line.client.sent)} | buried

    def account(self, sent: Sent, first: int = 0) -> audit.Account:
        """The audit of what was sent, up to the end of the log."""
        outputs = MemoryCluster()
        for topic, value, key, headers in sent:
            partition = Partition(topic, 0)
            outputs.append(partition, value, key)
            outputs.topics[partition][-1] = msgspec.structs.replace(outputs.topics[partition][-1], headers=headers)
        return _audited(self.config, self._rules, self.cluster.topics[INPUT], outputs, first)


def _audited(
    config: Config, given_rules: WindowRules, ticks: list[Record], outputs: MemoryCluster, first: int
) -> audit.Account:
    manifest = ToyEngine(given_rules, COLUMNS).bundle.manifest
    held = {INPUT: OffsetRange(first, len(ticks))}
    forecasts, letters = outputs.topics[Partition("forecasts", 0)], outputs.topics[Partition("dead-letters", 0)]
    return audit.audit(config, [manifest], held, ticks, forecasts, letters)[INPUT]


def _forecasts(sent: Sent) -> list[records.Forecast]:
    return [records.decode(value) for topic, value, _, _ in sent if topic == "forecasts" and value is not None]


def _told(forecasts: Sequence[records.Forecast]) -> list[tuple[int, int, tuple[str, ...]]]:
    return [(each.offset, each.skipped_before, each.flags) for each in forecasts]


def _ticks(text: str) -> list[Step]:
    """One tick for each letter; a small one is stale."""
    return [(letter.upper(), 1, OLD_MS if letter.islower() else FRESH_MS) for letter in text]


# -- whatever comes


@settings(max_examples=examples(120), deadline=None)
@given(
    polls,
    rules,
    lags,
    st.sampled_from([ToyEngine, OftenNan]),
    st.sampled_from([{}, {"replay_records_max": 12}, {"max_symbols": 2}]),
    st.sampled_from([1, 3_000]),
    st.sets(st.integers(1, 11), max_size=2),
    st.booleans(),
)
def test_values_are_those_of_an_undisturbed_run_and_the_audit_adds_up_whatever_is_skipped_and_killed(
    given_polls, given_rules, lag, engine, recovery, commit_interval_ms, kills, splits
):
    desk = Desk(given_rules, lag, engine, recovery=recovery, commit_interval_ms=commit_interval_ms)
    check(desk, given_polls, kills, splits)
    if "on_stale" not in lag:  # a poll is done when it is committed
        assert engine is OftenNan or "unconfirmed" not in desk.account(desk.sent).skipped_by_reason
        wanted, log = desk.undisturbed(), desk.cluster.topics[INPUT]
        for offsets, answers in zip(desk.polled, desk.answers, strict=True):
            newest = {msgspec.json.decode(log[at].value)["symbol"]: at for at in offsets if at in wanted}
            assert {at for at in newest.values() if wanted[at]} <= {forecast.offset for forecast in answers}


@settings(max_examples=examples(40), deadline=None)
@given(polls, rules, lags, st.sets(st.integers(1, 11), max_size=2), st.sampled_from(["windowed", "carried"]))
def test_exactly_once_and_the_mode_carried_are_no_exception(given_polls, given_rules, lag, kills, mode):
    desk = Desk(given_rules, lag, mode=mode, commit_interval_ms=3_000, delivery="exactly_once")
    check(desk, given_polls, kills)
    assert desk.account(desk.sent).doubled == 0


def check(desk: Desk, given_polls: Sequence[Poll], kills: Collection[int], splits: bool = True) -> None:
    """Whatever was answered is right, and all else is told by what was."""
    for number, (steps, idle) in enumerate(given_polls):
        if number in kills:
            desk.kill()
            desk.start(splits)
        desk.poll(steps, idle)
    desk.line.turn(5)
    desk.kill()
    wanted, found = desk.undisturbed(), _forecasts(desk.sent)
    for forecast in found:
        expected = wanted[forecast.offset]
        assert expected is not None
        assert forecast.forecast == expected.forecast
    letters = [records.source_of(headers)[1] for topic, *_, headers in desk.sent if topic == LETTERS]
    account = desk.account(desk.sent)
    assert (account.missing, account.unexpected, account.miscounted) == (0, 0, 0), account
    assert account.forecasts == len({forecast.offset for forecast in found})
    assert account.dead_letters == len(set(letters))
    assert account.doubled == len(found) - account.forecasts + len(letters) - account.dead_letters
    assert account.skipped == len(wanted) - account.forecasts - account.dead_letters
    assert account.ticks == account.forecasts + account.warming + account.skipped + account.dead_letters


@settings(max_examples=examples(60), deadline=None)
@given(polls, rules, st.data())
def test_a_forecast_lost_or_wrong_about_what_it_follows_does_not_add_up(given_polls, given_rules, data):
    desk = Desk(given_rules, {"on_lag": "latest"})
    for steps, idle in given_polls:
        desk.poll(steps, idle)
    desk.kill()
    assert desk.account(desk.sent).adds_up
    if not desk.sent:
        return
    at = data.draw(st.integers(0, len(desk.sent) - 1))
    without = [*desk.sent[:at], *desk.sent[at + 1 :]]
    assert desk.account(without).missing > 0
    topic, value, key, headers = desk.sent[at]
    assert value is not None
    forecast = records.decode(value)
    wrong = forecast.skipped_before + data.draw(st.sampled_from([-1, 1, 7]))
    value = records.encode(msgspec.structs.replace(forecast, skipped_before=wrong))
    account = desk.account([*desk.sent[:at], (topic, value, key, headers), *desk.sent[at + 1 :]])
    assert account.missing + account.miscounted > 0
    assert not account.adds_up


# -- latest


@pytest.mark.parametrize("splits", [True, False])
def test_of_each_symbol_s_ticks_in_a_poll_only_the_newest_is_answered(splits):
    desk = Desk(WindowRules(window=2), {"on_lag": "latest"})
    desk.kill()
    desk.start(splits)
    assert _told(desk.poll(_ticks("AAAABBBB"))) == [(3, 0, ("resumed",)), (7, 0, ("resumed",))]
    assert sorted(_told(desk.poll(_ticks("AABAB"), idle=3))) == [(11, 2, ()), (12, 1, ())]
    assert sorted(_told(desk.poll(_ticks("AB")))) == [(13, 0, ()), (14, 0, ())]
    assert desk.line.value("tickcast_skipped_ticks_total", "latest") == 3
    desk.kill()


def test_the_first_forecast_of_a_window_says_that_it_knows_of_nothing_before():
    desk = Desk(WindowRules(window=2), {"on_lag": "latest"})
    assert _told(desk.poll(_ticks("AAAAAA"))) == [(5, 2, ("resumed",))]
    assert _told(desk.poll(_ticks("A"), idle=3)) == [(6, 0, ())]
    desk.kill()
    desk.start()
    assert _told(desk.poll(_ticks("AA"))) == [(8, 1, ("resumed",))]
    desk.kill()


def test_a_burst_takes_the_finish_path_to_its_newest_tick():
    desk = Desk(WindowRules(window=6), {"on_lag": "latest"})
    desk.poll(_ticks("AAAAAAAA"), idle=6)
    for _ in range(4):  # bursts for which there is no carry yet make the ladder higher
        desk.poll(_ticks("AAA"), idle=6)
    (answer,) = desk.poll(_ticks("AAA"), idle=6)
    assert (answer.path, answer.skipped_before) == ("finish", 2)
    assert answer.forecast == desk.undisturbed()[answer.offset].forecast
    desk.kill()


# -- max_age_ms


def test_a_stale_tick_is_answered_and_flagged():
    desk = Desk(WindowRules(window=2), {"max_age_ms": MAX_AGE_MS})
    assert _told(desk.poll(_ticks("AAAAaA"))) == [(3, 0, ()), (4, 0, ("stale",)), (5, 0, ())]
    desk.kill()
    assert desk.account(desk.sent).adds_up


def test_stale_ticks_are_skipped_and_the_next_forecast_says_how_many():
    desk = Desk(WindowRules(window=2), {"max_age_ms": MAX_AGE_MS, "on_stale": "skip"})
    assert _told(desk.poll(_ticks("AAAaAaa"))) == [(4, 1, ("resumed",))]
    assert _told(desk.poll(_ticks("a"))) == []
    assert _told(desk.poll(_ticks("aAA"))) == [(9, 4, ()), (10, 0, ())]
    assert desk.line.value("tickcast_skipped_ticks_total", "stale") == 5
    desk.kill()
    account = desk.account(desk.sent)
    assert account.skipped_by_reason == {"passed_over": 5}
    assert account.adds_up


def test_where_the_newest_tick_is_stale_no_older_one_stands_in_for_it():
    desk = Desk(WindowRules(window=2), {"on_lag": "latest", "max_age_ms": MAX_AGE_MS, "on_stale": "skip"})
    assert _told(desk.poll(_ticks("AAAAAa"))) == []
    assert [desk.line.value("tickcast_skipped_ticks_total", reason) for reason in ("latest", "stale")] == [2, 1]
    desk.kill()
    assert desk.account(desk.sent).skipped_by_reason == {"unconfirmed": 3}


def test_age_counts_from_the_timestamp_to_the_poll_and_is_above_the_limit_when_stale():
    desk = Desk(WindowRules(window=1), {"max_age_ms": 1_000})
    desk.poll(_ticks("AA"))
    now_ms = desk.line.clock.wall_ns() // 1_000_000
    (at_limit,) = desk.poll([("A", 1, now_ms - 1_000)])
    now_ms = desk.line.clock.wall_ns() // 1_000_000
    (above,) = desk.poll([("A", 1, now_ms - 1_001)])
    assert (at_limit.flags, above.flags) == ((), ("stale",))
    desk.kill()


def test_skipping_what_is_stale_needs_an_age():
    with pytest.raises(ValidationError, match="needs max_age_ms"):
        config_with(lag={"on_stale": "skip"})
    assert not config_with().lag.active


# -- what the audit makes of it


def test_an_answer_that_is_not_finite_is_a_dead_letter_and_what_it_passed_over_counts_for_the_next(monkeypatch):
    desk = Desk(WindowRules(window=2), {"on_lag": "latest"})
    desk.poll(_ticks("AAAA"))
    with monkeypatch.context() as patch:
        patch.setattr(
            desk.line.assembly.models.each[0].engine, "_answer", lambda values: np.full((len(values), 2), np.nan)
        )
        assert desk.poll(_ticks("AAA")) == []
    assert _told(desk.poll(_ticks("AA"))) == [(8, 3, ())]
    desk.kill()
    account = desk.account(desk.sent)
    assert account.adds_up
    assert (account.dead_letters, account.skipped_by_reason) == (1, {"passed_over": 3})


def test_of_two_daemons_that_write_in_turn_each_is_held_to_its_own_forecasts():
    """One was stopped and goes on where it was, after another has taken its partition over."""
    desk = Desk(WindowRules(window=1), {"on_lag": "latest"})
    desk.poll(_ticks("AAAAA"))
    desk.kill()
    texts = [(4, 2, ("resumed",)), (6, 1, ("resumed",)), (5, 0, ()), (7, 1, ()), (8, 1, ()), (9, 0, ()), (9, 1, ())]
    (template,) = desk.sent
    sent = [_like(template, *text) for text in texts]
    desk.poll(_ticks("AAAAA"))
    account = desk.account(sent)
    assert (account.missing, account.miscounted, account.doubled, account.skipped) == (0, 0, 1, 2)
    assert desk.account([*sent[:3], _like(template, 7, 3, ()), *sent[4:]]).miscounted == 1


def test_a_range_that_starts_in_the_middle_of_a_gap_takes_what_is_said_of_before():
    desk = Desk(WindowRules(window=1), {"on_lag": "latest"})
    desk.poll(_ticks("AAA"))
    desk.poll(_ticks("AAAAA"))
    desk.kill()
    account = desk.account(desk.sent, first=5)
    assert account.adds_up
    assert (account.ticks, account.skipped) == (3, 2)
    assert desk.account(desk.sent[:1], first=5).missing == 3


def _like(sent: tuple[str, bytes | None, bytes | None, Headers], offset: int, skipped: int, flags: tuple[str, ...]):
    """A forecast of another tick."""
    topic, value, key, _ = sent
    assert value is not None
    changed = msgspec.structs.replace(records.decode(value), offset=offset, skipped_before=skipped, flags=flags)
    return topic, records.encode(changed), key, records.source_headers(INPUT, offset)
