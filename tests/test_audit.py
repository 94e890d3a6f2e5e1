"""The audit finds what is missing, doubled or out of place; what adds up, it lets pass."""

import msgspec
import pytest
from factories import manifest_with
from pipelines import config_with
from tickcast import audit, records
from tickcast.clients import OffsetRange, Partition, Record
from tickcast.errors import InvalidRecord, NonFiniteForecast, UsageError
from tickcast.manifest import WindowRules

INPUT, OTHER = Partition("ticks", 0), Partition("ticks", 1)
MANIFEST = manifest_with(columns=("value",), features=1, rules=WindowRules(window=2, order="skip"))
TIME_NS = 1_700_000_000_000_000_000

# Ten ticks of one symbol: the first primes, the second is sampled, the third makes the first row; one goes backwards,
# one cannot be read.
LATE, BAD = 6, 8
TIMES = [0, 1, 2, 3, 4, 5, 1, 7, 8, 9]
DUE = [3, 4, 5, 7, 9]


def _tick(offset: int, partition: Partition = INPUT) -> Record:
    fields = {"symbol": "A", "event_time_ns": TIME_NS + TIMES[offset] * 1_000, "value": float(offset)}
    value = b"{" if offset == BAD else msgspec.json.encode(fields)
    return Record(partition, offset, 0, b"A", value, ())


def _forecast(offset: int, partition: Partition = INPUT) -> Record:
    return Record(Partition("forecasts", 0), 0, 0, b"A", b"{}", records.source_headers(partition, offset))


def _dead_letter(offset: int, error: type[InvalidRecord] | type[NonFiniteForecast] = InvalidRecord) -> Record:
    headers = records.dead_letter(_tick(offset), error("why"), 100).headers
    return Record(Partition("dead-letters", 0), 0, 0, None, b"{", headers)


def _account(forecasts: list[Record], dead_letters: list[Record], first: int = 0) -> audit.Account:
    ticks = [_tick(offset) for offset in range(10)]
    held = {INPUT: OffsetRange(first, 10)}
    return audit.audit(config_with(), [MANIFEST], held, ticks, forecasts, dead_letters)[INPUT]


def test_every_tick_answered_once_adds_up():
    account = _account([_forecast(offset) for offset in DUE], [_dead_letter(BAD)])
    assert account == audit.Account(10, 5, 3, 1, 1, skipped_by_reason={"late": 1})
    assert account.adds_up


@pytest.mark.parametrize("lost", DUE)
def test_a_lost_forecast_is_missing(lost):
    account = _account([_forecast(offset) for offset in DUE if offset != lost], [_dead_letter(BAD)])
    assert (account.missing, account.doubled, account.unexpected, account.adds_up) == (1, 0, 0, False)


def test_a_repeated_forecast_is_doubled():
    account = _account([_forecast(offset) for offset in [*DUE, 5, 5, 9]], [_dead_letter(BAD)])
    assert (account.missing, account.doubled, account.unexpected, account.adds_up) == (0, 3, 0, False)


def test_a_forecast_for_a_tick_that_should_have_none_is_unexpected():
    account = _account([_forecast(offset) for offset in [*DUE, 0, LATE]], [_dead_letter(BAD)])
    assert (account.missing, account.doubled, account.unexpected, account.adds_up) == (0, 0, 2, False)


def test_a_lost_dead_letter_is_missing_and_one_of_a_good_tick_unexpected():
    account = _account([_forecast(offset) for offset in DUE], [_dead_letter(4)])
    assert (account.missing, account.unexpected, account.adds_up) == (1, 1, False)


def test_a_model_that_answered_nan_left_a_dead_letter_instead_of_a_forecast():
    letters = [_dead_letter(BAD), _dead_letter(4, NonFiniteForecast)]
    account = _account([_forecast(offset) for offset in DUE if offset != 4], letters)
    assert (account.forecasts, account.dead_letters, account.adds_up) == (4, 2, True)


def test_a_range_that_starts_later_judges_only_itself_with_windows_from_before_it():
    account = _account([_forecast(offset) for offset in [*DUE, 3]], [_dead_letter(BAD)], first=4)
    assert (account.ticks, account.forecasts, account.warming, account.doubled, account.adds_up) == (6, 4, 0, 0, True)


def test_it_says_where_something_is_wrong():
    account = _account([_forecast(offset) for offset in [0, 3, 9, 9]], [])
    assert account.where == {"missing": [(4, 5), (7, 8)], "doubled": [(9, 9)], "unexpected": [(0, 0)]}
    assert _account([_forecast(offset) for offset in DUE], [_dead_letter(BAD)]).where == {}


def test_offsets_without_a_tick_break_no_range():
    ticks = [_tick(offset) for offset in range(10) if offset != LATE]
    account = audit.audit(config_with(), [MANIFEST], {INPUT: OffsetRange(0, 10)}, ticks, [], [])[INPUT]
    assert account.where == {"missing": [(3, 9)]}


def test_only_the_first_ranges_are_told(monkeypatch):
    monkeypatch.setattr(audit, "RANGES_MAX", 1)
    account = _account([_forecast(3), _forecast(7)], [_dead_letter(BAD)])
    assert (account.missing, account.where) == (3, {"missing": [(4, 5)]})


def test_an_output_record_that_names_no_source_is_an_error_that_says_where():
    foreign = Record(Partition("forecasts", 3), 7, 0, b"A", b"{}", ())
    with pytest.raises(UsageError, match="forecasts/3, offset 7: no record of a tickcast daemon"):
        _account([foreign], [])
    with pytest.raises(UsageError, match="forecasts/3, offset 7"):
        _account([], [foreign])


def test_the_total_is_the_sum_over_partitions():
    one = _account([_forecast(offset) for offset in DUE], [_dead_letter(BAD)])
    whole = audit.total([one, one])
    assert (whole.ticks, whole.forecasts, whole.skipped_by_reason, whole.adds_up) == (20, 10, {"late": 2}, True)


def test_a_forecast_that_miscounts_keeps_the_total_from_adding_up():
    whole = audit.total([audit.Account(ticks=1, forecasts=1, miscounted=1), audit.Account(ticks=1, forecasts=1)])
    assert (whole.forecasts, whole.miscounted, whole.adds_up) == (2, 1, False)
