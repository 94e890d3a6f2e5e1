"""What is written of a promotion: one line for the audit file, and the record of the control topic, version 1.

Beside the way of a tick. The control topic is compacted and has one key per model; its newest value holds every switch
from one bundle to another that there is room for, so that whoever comes late knows which bundle was in force where.
Bytes from outside never do more than raise ValueError.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

# Of a value: half of what a topic takes by default.
RECORD_BYTES_MAX = 512 << 10
TEXT_CHARACTERS_MAX = 1_000

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=249)]
Moment = Annotated[datetime, Meta(tz=True)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Positive = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
# Topic -> partition -> offset.
Offsets = dict[Name, dict[Natural, Natural]]
# `promoted`: the evidence held; `forced`: it was not asked; `back`: to the bundle before; `refused`: nothing changed.
Decided = Literal["promoted", "forced", "back", "refused"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision rests on: losses are squared errors in squares of the target_scale of the bundle that answers."""

    scored: Natural  # ticks that both bundles forecast and whose outcome is known
    horizons: tuple[Positive, ...]  # over which a tick's loss is the mean
    old_loss: float
    new_loss: float
    difference: float  # old minus new, over all scored ticks: above zero the new one is better
    look: Natural  # the newest that was taken; 0: none yet
    look_ticks: Natural
    alpha: float  # the share of errors that this look may spend
    low: float | None  # one-sided ends at that look
    high: float | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit file: who decided what about a model, when, and on what grounds."""

    v: Literal[1] = 1
    decided: Decided
    model: Name  # the control topic's key
    sequence: Natural  # of the switch; 0 where nothing changed
    who: Text
    when: Moment
    old: Sha256  # answers until then
    new: Sha256
    reason: Text
    evidence: Evidence | None = None


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """From one bundle to another. `starts`: the offsets from which the new one is in force; elsewhere from 0."""

    sequence: Positive
    old: Sha256
    new: Sha256
    when: Moment
    starts: Offsets


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a control record: which bundle is in force, how it came to that, and why."""

    v: Literal[1] = 1
    model: Name
    switches: Annotated[tuple[Switch, ...], Meta(min_length=1)]  # oldest first
    decision: Decision  # the newest switch's

    @property
    def in_force(self) -> str:
        """The sha256 of the bundle that is to answer."""
        return self.switches[-1].new

    @property
    def sequence(self) -> int:
        """How many switches there were."""
        return self.switches[-1].sequence


Decoded = TypeVar("Decoded")
_control = msgspec.json.Decoder(Control)
_decision = msgspec.json.Decoder(Decision)


def following(before: Control | None, decision: Decision, starts: Mapping[str, Mapping[int, int]]) -> Control:
    """The record after `before` with the switch that `decision` is. Raises ValueError where it is not the next one."""
    if before is None and decision.sequence != 1:
        raise ValueError(f"switch {decision.sequence} without those before it")
    offsets = {topic: dict(partitions) for topic, partitions in starts.items()}
    switch = Switch(sequence=decision.sequence, old=decision.old, new=decision.new, when=decision.when, starts=offsets)
    made = Control(model=decision.model, switches=(*(before.switches if before else ()), switch), decision=decision)
    _check(made)
    return made


def encode(control: Control) -> bytes:
    """`control` as a record's value; where it grows too long the oldest switches go. Raises ValueError where one is."""
    switches = list(control.switches)
    while True:
        value = msgspec.json.encode(msgspec.structs.replace(control, switches=tuple(switches)))
        if len(value) <= RECORD_BYTES_MAX:
            return value
        if len(switches) == 1:
            raise ValueError(f"a control record of {len(value)} bytes; at most {RECORD_BYTES_MAX}")
        del switches[: (len(switches) + 1) // 2]


def decode(value: bytes) -> Control:
    """The control record that `value` is. Raises ValueError for any other bytes."""
    control: Control = _decoded(_control, value)
    _check(control)
    return control


def encode_line(decision: Decision) -> bytes:
    """`decision` as a line of the audit file, its end included."""
    return msgspec.json.encode(decision) + b"\n"


def decode_line(line: bytes) -> Decision:
    """The decision that a line of the audit file is. Raises ValueError for any other bytes."""
    decision: Decision = _decoded(_decision, line)
    return decision


def _decoded(decoder: "msgspec.json.Decoder[Decoded]", value: bytes) -> Decoded:
    if len(value) > RECORD_BYTES_MAX:
        raise ValueError(f"{len(value)} bytes; at most {RECORD_BYTES_MAX}")
    try:
        return decoder.decode(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _check(control: Control) -> None:
    """What the types cannot say. Raises ValueError."""
    for before, after in pairwise(control.switches):
        if (after.sequence, after.old) != (before.sequence + 1, before.new):
            raise ValueError(f"switch {after.sequence} does not follow switch {before.sequence}")
    newest, decision = control.switches[-1], control.decision
    if decision.decided == "refused":
        raise ValueError("a refusal switches nothing")
    if (decision.model, decision.sequence, decision.old, decision.new) != (
        control.model,
        newest.sequence,
        newest.old,
        newest.new,
    ):
        raise ValueError(f"the decision is not that of switch {newest.sequence} of model {control.model}")
