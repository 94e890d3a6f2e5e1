"""Control records and audit lines: what was written is read back, and no bytes do more than raise ValueError."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickcast import promotion_record
from tickcast.promotion_record import RECORD_BYTES_MAX, Control, Decision, Evidence

A, B = "a" * 64, "b" * 64
WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIDENCE = Evidence(
    scored=5_400,
    horizons=(1, 10),
    old_loss=0.9,
    new_loss=0.85,
    difference=0.05,
    look=1,
    look_ticks=5_000,
    alpha=0.025,
    low=0.01,
    high=0.09,
)


def decision(sequence: int, old: str, new: str, decided: promotion_record.Decided = "promoted") -> Decision:
    """Of a model called `quotes`."""
    return Decision(
        decided=decided,
        model="quotes",
        sequence=sequence,
        who="ada@desk",
        when=WHEN,
        old=old,
        new=new,
        reason="look 1 holds",
        evidence=EVIDENCE,
    )


def switched(times: int, starts: dict[str, dict[int, int]] | None = None) -> Control:
    """The record after so many switches, there and back."""
    control = None
    for sequence in range(1, times + 1):
        old, new = (A, B) if sequence % 2 else (B, A)
        made = decision(sequence, old, new, "promoted" if sequence % 2 else "back")
        control = promotion_record.following(control, made, starts or {"ticks": {0: 100 * sequence, 1: sequence}})
    assert control is not None
    return control


def test_a_control_record_is_read_back_as_it_was_written():
    control = switched(3)
    assert promotion_record.decode(promotion_record.encode(control)) == control
    assert (control.in_force, control.sequence) == (B, 3)


def test_an_audit_line_is_one_line_and_read_back():
    refused = msgspec.structs.replace(decision(0, A, B, "refused"), reason="two\nlines")
    line = promotion_record.encode_line(refused)
    assert line.count(b"\n") == 1
    assert promotion_record.decode_line(line) == refused


def test_fields_that_come_later_are_passed_over():
    tree = msgspec.json.decode(promotion_record.encode(switched(1)))
    tree["colour"] = {"of": ["the", "sky"]}
    assert promotion_record.decode(msgspec.json.encode(tree)) == switched(1)


def test_the_wire_form_stays_as_it_is():
    assert msgspec.json.decode(promotion_record.encode(switched(1))) == {
        "v": 1,
        "model": "quotes",
        "switches": [
            {"sequence": 1, "old": A, "new": B, "when": "2026-03-01T12:00:00Z", "starts": {"ticks": {"0": 100, "1": 1}}}
        ],
        "decision": {
            "v": 1,
            "decided": "promoted",
            "model": "quotes",
            "sequence": 1,
            "who": "ada@desk",
            "when": "2026-03-01T12:00:00Z",
            "old": A,
            "new": B,
            "reason": "look 1 holds",
            "evidence": {
                "scored": 5_400,
                "horizons": [1, 10],
                "old_loss": 0.9,
                "new_loss": 0.85,
                "difference": 0.05,
                "look": 1,
                "look_ticks": 5_000,
                "alpha": 0.025,
                "low": 0.01,
                "high": 0.09,
            },
        },
    }


def test_of_too_many_switches_the_oldest_go_and_the_rest_still_hangs_together():
    control = switched(60, {"ticks": dict.fromkeys(range(1_000), 10**12)})
    value = promotion_record.encode(control)
    kept = promotion_record.decode(value)
    assert len(value) <= RECORD_BYTES_MAX
    assert kept.switches == control.switches[-len(kept.switches) :]
    assert 1 <= len(kept.switches) < 60
    with pytest.raises(ValueError, match="bytes; at most"):
        promotion_record.encode(switched(1, {"ticks": dict.fromkeys(range(60_000), 10**12)}))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tree: tree.update(v=2),
        lambda tree: tree.update(switches=[]),
        lambda tree: tree.update(model=""),
        lambda tree: tree["switches"][0].update(new="B" * 64),
        lambda tree: tree["switches"][0].update(starts={"ticks": {"-1": 0}}),
        lambda tree: tree["switches"][0].update(starts={"ticks": {"0": -1}}),
        lambda tree: tree["switches"][0].update(when="2026-03-01T12:00:00"),
        lambda tree: tree["switches"][1].update(sequence=3),
        lambda tree: tree["switches"][1].update(old=A),
        lambda tree: tree["decision"].update(new=B),
        lambda tree: tree["decision"].update(model="other"),
        lambda tree: tree["decision"].update(decided="refused"),
        lambda tree: tree["decision"].update(who="x" * 1_001),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(wrong):
    tree = msgspec.json.decode(promotion_record.encode(switched(2)))
    wrong(tree)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        promotion_record.decode(msgspec.json.encode(tree))


def test_a_switch_that_is_not_the_next_is_refused():
    with pytest.raises(ValueError, match="without those before"):
        promotion_record.following(None, decision(2, A, B), {})
    with pytest.raises(ValueError, match="does not follow"):
        promotion_record.following(switched(1), decision(2, A, B), {})


HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"v":1e400}',
    b'{"model":"\xff"}',
    b'{"q":' + b"[" * 200_000,
    b'{"q":"' + b"x" * RECORD_BYTES_MAX + b'"}',
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("read", [promotion_record.decode, promotion_record.decode_line])
def test_hostile_bytes_are_refused_and_do_no_more(read, value):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read(value)


@given(st.data())
def test_a_record_with_bytes_changed_is_a_valid_one_or_refused(data):
    value = bytearray(promotion_record.encode(switched(2)))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = promotion_record.decode(bytes(value))
    except ValueError:
        return
    assert promotion_record.decode(promotion_record.encode(found)) == found
