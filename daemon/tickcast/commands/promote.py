"""`tickcast promote`: let the shadow answer, where its live error is lower; and back."""

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tickcast import config as configuration
from tickcast import control_topic, promotion, promotion_audit, promotion_record, promotion_wait
from tickcast.clients import Partition
from tickcast.clock import SystemClock
from tickcast.config import Config
from tickcast.control_topic import ControlTopic
from tickcast.errors import ConfigurationError, UsageError
from tickcast.promotion import Contest, Judged
from tickcast.promotion_looks import LOOKS_MAX, Verdict
from tickcast.promotion_record import Decided, Decision
from tickcast.topic_reader import TopicReader

UNIT = "losses: squared errors in squares of target_scale, mean over horizons"


def promote(
    config: Annotated[Path, typer.Option(help="The configuration file of a daemon of the group.", dir_okay=False)],
    model: Annotated[
        int | None, typer.Option(min=0, help="Which entry of `models`, from 0; default: the only one with a shadow.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Compare forecasts so many ticks ahead only; default: all of them.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Without regard to the evidence; needs --reason.")] = False,
    back: Annotated[bool, typer.Option(help="Back to the bundle that was in force before; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="What is to be written down beside the evidence.")] = "",
    who: Annotated[str, typer.Option(help="Who decides.", show_default="user@host")] = "",
    dry_run: Annotated[bool, typer.Option(help="Say what would be decided; write nothing.")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="Look again until it may be promoted, for at most so many seconds.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as one JSON object.")] = False,
) -> None:
    """Compare the shadow's live error with that of the bundle that answers, and switch where it is lower: exit 0.

    Exit 1 where it is not, or not yet. Each decision is a line of the audit file, refusals too; a switch also a record
    of the control topic, which the daemons of the group follow. While it waits (--wait-s) nothing is decided.
    """
    settings = configuration.load(config, os.environ)
    _check(settings, force, back, reason, wait_s)
    with TopicReader(settings.kafka) as reader:
        topic = ControlTopic(reader, settings.promotion.control_topic)
        topic.read()
        between = promotion.contest(settings, model, topic.controls)
        judged = None if back else _judged(settings, between, reader, topic, horizon, wait_s)
        decided = _decided(between, judged, force, back)
        said = "; ".join(filter(None, (reason, judged.verdict.reason if judged is not None else "")))
        when, who = datetime.now(UTC), who or f"{getpass.getuser()}@{socket.gethostname()}"
        made = promotion.decision(between, decided, who, when, said, judged.evidence if judged is not None else None)
        starts = _ends(reader, settings)
    if not dry_run:
        _write(settings, config.parent / settings.promotion.audit_file, between, made, starts)
    _show(made, judged, as_json)
    if decided == "refused":
        raise typer.Exit(1)


def _check(settings: Config, force: bool, back: bool, reason: str, wait_s: float) -> None:
    if not settings.promotion.control_topic:
        raise ConfigurationError("promotion.control_topic: not set: the daemons would not hear of a switch")
    if force and back:
        raise UsageError("--force and --back: one of them")
    if (force or back) and not reason:
        raise UsageError("--reason: why, without evidence?")
    if (force or back) and wait_s:
        raise UsageError("--wait-s: for what? Neither --force nor --back asks for evidence")


def _judged(
    settings: Config, between: Contest, reader: TopicReader, topic: ControlTopic, horizon: int | None, wait_s: float
) -> Judged:
    """What the topics say; asked again for up to `wait_s` until it suffices, as long as it is about the same two."""

    def judge() -> Judged:
        found = promotion.judge(between, reader, horizon)
        topic.read()
        if promotion.contest(settings, between.place, topic.controls) != between:
            raise UsageError("meanwhile another switch was decided, or another bundle made the shadow: look again")
        return found

    return promotion_wait.judged(judge, wait_s, SystemClock(), lambda why: typer.echo(f"waiting: {why}", err=True))


def _decided(between: Contest, judged: Judged | None, force: bool, back: bool) -> Decided:
    if back:
        if between.control is None or between.control.switches[-1].old != between.new:
            raise UsageError(
                f"--back: the shadow, {between.new}, is not what was in force before: put that into its place "
                "(`tickcast shadow`) and use --force"
            )
        return "back"
    if force:
        return "forced"
    return "promoted" if judged is not None and judged.verdict.is_better else "refused"


def _ends(reader: TopicReader, settings: Config) -> dict[str, dict[int, int]]:
    """Where each input partition ends now: from there on another bundle is wanted."""
    inputs: list[Partition] = [p for topic in settings.kafka.input_topics for p in reader.partitions(topic)]
    ends: dict[str, dict[int, int]] = {}
    for (topic, number), held in reader.held(inputs).items():
        ends.setdefault(topic, {})[number] = held.end
    return ends


def _write(
    settings: Config, audit_file: Path, between: Contest, made: Decision, starts: dict[str, dict[int, int]]
) -> None:
    """First the line, then the record: nothing takes effect that is not written down."""
    control = None if made.decided == "refused" else promotion_record.following(between.control, made, starts)
    promotion_audit.append(audit_file, made)
    if control is not None:
        control_topic.write(settings.kafka, settings.promotion.control_topic, control, SystemClock())


def _show(made: Decision, judged: Judged | None, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(json.loads(promotion_record.encode_line(made))))
        return
    console = Console()
    if judged is not None and judged.verdict.looks:
        console.print(_table(judged.verdict))
    if made.evidence is not None:
        told = made.evidence
        share = -told.difference / told.old_loss if told.old_loss else 0.0
        console.print(
            f"{told.scored:,} ticks scored: loss {told.old_loss:.6g} of the bundle in force, {told.new_loss:.6g} of "
            f"the shadow ({share:+.2%})",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"{made.decided}: {made.reason}", highlight=False, soft_wrap=True)
    console.print(f"  from {made.old}\n  to   {made.new}", highlight=False, soft_wrap=True)


def _table(verdict: Verdict) -> Table:
    table = Table("look", "ticks", "may err", "low", "mean", "high", "holds", box=None, padding=(0, 1, 0, 0))
    table.caption, table.caption_justify = f"{UNIT}; {LOOKS_MAX} looks at most", "left"
    for look in verdict.looks:
        numbers = (f"{value:.4g}" for value in (look.low, look.mean, look.high))
        holds = "yes" if look.is_better else "no"
        table.add_row(str(look.number), f"{look.ticks:,}", f"{look.alpha:.3%}", *numbers, holds)
    return table
