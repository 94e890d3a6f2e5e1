"""A market changes its ways, and a model is trained anew and takes over: each step by the command a user would type.

Around the way of a tick. Ticks are simulated, and called so; everything else is the real thing. Whatever ends it,
Ctrl-C included, everything that it started has ended before it returns.
"""

import json
import time
from datetime import UTC, datetime

from rich.console import Console
from tickcast import kafka_jars, manifest, promotion_audit, promotion_record, state_topic, tick_files, toml_text
from tickcast.broker import Broker
from tickcast.child_processes import Child
from tickcast.errors import TickcastError
from tickcast.tick_files import Ticks

from tickcast_export import retrain_model, simulator
from tickcast_export.demo_settings import Story
from tickcast_export.figures import percent
from tickcast_export.retrain_commands import Commands
from tickcast_export.retrain_errors import Summary
from tickcast_export.retrain_session import Session
from tickcast_export.retrain_settings import (
    CONTROL,
    DEAD_LETTERS,
    FOLLOW_INTERVAL_MS,
    INPUT,
    INPUT_PARTITIONS,
    NAME,
    OUTPUT,
    SYMBOLS,
    Settings,
)

STEPS = 8
PROMOTE_WAIT_S = 180
# What is learned from, and what is played: files of ticks.
HISTORY, CALM, CHANGED, LATER = "history.csv", "day-1.csv", "day-2.csv", "day-3.csv"
CONFIG, RECORDED, DECISIONS = "desk.toml", "yesterday.parquet", "promotions.jsonl"
LIVE, CANDIDATE, SECOND = "bundles/live", "bundles/candidate", "bundles/desk-2"


def run(settings: Settings, console: Console) -> Summary:
    """All steps. Raises TickcastError for whatever cannot be done, saying what and why."""
    started_s = time.monotonic()
    story = Story(console, STEPS)
    settings.file("bundles").mkdir(parents=True, exist_ok=True)
    commands = Commands(settings, story)
    story.heading("a simulated market, before and after it changes its ways")
    _simulate(settings, story)
    story.heading("train and export the first model")
    retrain_model.train(settings, commands, HISTORY, "1", LIVE)
    story.heading("start Apache Kafka and the daemon")
    with Broker() as broker:
        _topics(broker, story)
        _configure(settings, broker, with_shadow=False)
        with Session(settings.file(CONFIG), broker, commands, console) as session:
            story.heading("day 1: the market is as it was when the model learned")
            before = _play(settings, session, story, CALM, settings.calm_ticks)
            story.heading("day 2: the market has changed its ways")
            began = _now()
            after = _play(settings, session, story, CHANGED, settings.changed_ticks)
            story.heading("the night after: record the day, train, export, evaluate")
            evaluated = _retrain(settings, commands, story, began)
            story.heading("the new model in the old one's shadow; the first shadow takes a restart")
            _configure(settings, broker, with_shadow=True)
            commands.run("shadow", settings.file(SECOND), "--config", settings.file(CONFIG), is_shown=True)
            session.stop()
        with Session(settings.file(CONFIG), broker, commands, console) as session:
            story.heading("day 3: both answer, until the new one's error is lower for sure")
            promoted, evidence = _promote(settings, commands, session, story)
            session.stop()
        audited = json.loads(commands.run("audit", "--config", settings.file(CONFIG), "--to", "end", "--json"))["total"]
    return Summary(
        simulated=True,
        error_before_change=before,
        error_after_change=after,
        error_after_promotion=promoted,
        sha256_old=manifest.read(settings.file(LIVE))[1],
        sha256_new=manifest.read(settings.file(SECOND))[1],
        evaluated_old=evaluated[0],
        evaluated_new=evaluated[1],
        scored_ticks=evidence.scored,
        look_ticks=evidence.look_ticks,
        ticks=audited["ticks"],
        forecasts=audited["forecasts"],
        missing=audited["missing"],
        doubled=audited["doubled"],
        seconds=round(time.monotonic() - started_s, 1),
    )


def _simulate(settings: Settings, story: Story) -> None:
    before = _part(settings, HISTORY, settings.history_ticks, settings.seed, simulator.Market(), None)
    calm = _part(settings, CALM, settings.calm_ticks, settings.seed + 1, simulator.Market(), before)
    changed = _part(settings, CHANGED, settings.changed_ticks, settings.seed + 2, simulator.CHANGED, calm)
    _part(settings, LATER, settings.shadow_ticks, settings.seed + 3, simulator.CHANGED, changed)
    story.say(f"{SYMBOLS} simulated symbols, seed {settings.seed}: {settings.history_ticks:,} ticks to learn from")
    played = f"{settings.calm_ticks:,} as they were, {settings.changed_ticks:,} of the changed market, and more of it"
    story.say(f"to be played: {played}")
    story.say("error saved: 1 - squared error / that of forecasting no change; negative is worse than no forecast")


def _part(settings: Settings, name: str, ticks: int, seed: int, market: simulator.Market, since: Ticks | None) -> Ticks:
    """The next ticks of the market, also as a file."""
    made = simulator.simulate(ticks, SYMBOLS, seed, market, since)
    tick_files.write_csv(settings.file(name), made)
    return made


def _topics(broker: Broker, story: Story) -> None:
    for topic in (INPUT, OUTPUT, f"{OUTPUT}-shadow"):
        broker.create_topic(topic, INPUT_PARTITIONS)
    broker.create_topic(DEAD_LETTERS)
    broker.create_topic(f"{OUTPUT}-state", INPUT_PARTITIONS, state_topic.SETTINGS)
    broker.create_topic(CONTROL, config={"cleanup.policy": "compact"})
    story.say(f"Kafka {kafka_jars.KAFKA_VERSION} on {broker.bootstrap_servers}")


def _configure(settings: Settings, broker: Broker, with_shadow: bool) -> None:
    """Write the daemon's configuration, which stays there to be looked at."""
    kafka: dict[str, object] = {
        "bootstrap_servers": broker.bootstrap_servers,
        "group_id": NAME,
        "input_topics": [INPUT],
        "output_topic": OUTPUT,
        "dead_letter_topic": DEAD_LETTERS,
        "start": "earliest",
    }
    promotion: dict[str, object] = {
        "control_topic": CONTROL,
        "follow_interval_ms": FOLLOW_INTERVAL_MS,
        "audit_file": DECISIONS,
    }
    tables: dict[str, dict[str, object]] = {
        "kafka": kafka,
        "promotion": promotion,
        "http": {"port": 0},
        "log": {"format": "json"},
    }
    entry: dict[str, object] = {"bundle": LIVE, **({"shadow": CANDIDATE} if with_shadow else {})}
    settings.file(CONFIG).write_text(toml_text.document(tables, {"models": [entry]}), "utf-8")


def _play(settings: Settings, session: Session, story: Story, file: str, ticks: int) -> float | None:
    """A day that the first model answers; its error there."""
    part = session.play(settings.file(file), ticks, settings.rate)
    error = session.error_vs_persistence(part, settings.file(LIVE))
    story.say(f"of the day's squared error of no change {percent(error)} saved, by the forecasts in the topic")
    return error


def _retrain(settings: Settings, commands: Commands, story: Story, began: str) -> tuple[float | None, float | None]:
    """The second model from what was played since `began`; how good both are on its end, which neither has seen."""
    config, recorded = settings.file(CONFIG), settings.file(RECORDED)
    commands.run("record", "--config", config, "--from", began, "--to", _now(), "--out", recorded, is_shown=True)
    retrain_model.train(settings, commands, RECORDED, "2", SECOND)
    found = retrain_model.evaluate(settings, commands, RECORDED, (LIVE, SECOND))
    old, new = map(percent, found)
    story.say(f"error saved on the day's last fifth: {old} by the old model, {new} by the new one")
    return found


def _promote(
    settings: Settings, commands: Commands, session: Session, story: Story
) -> tuple[float | None, promotion_record.Evidence]:
    """Ticks are played while `tickcast promote` looks, and after it until the new bundle has answered enough.

    The new bundle's error after that, and what it was promoted by.
    """
    second, options = settings.file(SECOND), ["--wait-s", str(PROMOTE_WAIT_S), "--who", "retrain-demo"]
    with commands.start("promote", "--config", settings.file(CONFIG), *options) as promoting:
        after = _After(session, promoting, manifest.read(second)[1], settings.after_ticks, story)
        part = session.play(settings.file(LATER), settings.shadow_ticks, settings.shadow_rate, after)
        promoting.wait()
    if not after():
        raise TickcastError(
            f"after {settings.shadow_ticks:,} ticks the new bundle has not answered {settings.after_ticks:,}: "
            "more of them, or a slower rate?"
        )
    *_, decision = promotion_audit.read(settings.file(DECISIONS))
    assert decision.evidence is not None  # it was promoted, and not by force
    losses = f"loss {decision.evidence.old_loss:.4g} of the old one, {decision.evidence.new_loss:.4g} of the new one"
    story.say(f"{decision.decided}: {decision.reason}; over {decision.evidence.scored:,} ticks {losses}")
    error = session.error_vs_persistence(part, second)
    story.say(f"of the squared error of no change {percent(error)} saved since then, by the forecasts in the topic")
    return error, decision.evidence


class _After:
    """Whether the bundle that was promoted has answered enough."""

    def __init__(self, session: Session, promoting: Child, sha256: str, ticks: int, story: Story) -> None:
        self._session = session
        self._promoting = promoting
        self._sha256 = sha256
        self._ticks = ticks
        self._story = story
        self._begun: int | None = None  # forecasts there were when it began to answer

    def __call__(self) -> bool:
        """Raises TickcastError where it was refused."""
        if self._begun is None:
            if not self._promoting.ended() or self._sha256 not in self._session.live.in_force:
                return False
            self._begun = self._session.forecasts
            self._story.say(f"promoted: {self._sha256} answers")
        return self._session.forecasts - self._begun >= self._ticks


def _now() -> str:
    """As `tickcast record` takes it: from now on, or up to now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
