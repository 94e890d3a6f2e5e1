"""The demo's live part: the daemon starts, ticks are played, forecasts are watched, the daemon stops, the audit counts.

Around the whole way of a tick. The daemon, the player and the audit are `tickcast` commands in processes of their own.
"""

import json
import time

from tickcast import config as configuration
from tickcast import toml_text
from tickcast.audit import Account
from tickcast.broker import Broker
from tickcast.child_processes import Child, DaemonChild
from tickcast.config import Config
from tickcast.errors import BrokerError

from tickcast_export import demo_processes as processes
from tickcast_export import demo_screen
from tickcast_export.demo_screen import Screen
from tickcast_export.demo_settings import DEAD_LETTERS, INPUT, NAME, OUTPUT, Settings, Story
from tickcast_export.demo_watch import Watch

LOOK_INTERVAL_S = 0.4  # a number can be read at that pace, and the reader takes little of the daemon's cores
STALL_MAX_S = 60.0  # no progress for so long after the last tick was played: something is wrong


def configure(settings: Settings, broker: Broker) -> Config:
    """Write the daemon's configuration, `daemon.toml`, which stays there to be looked at and changed."""
    kafka: dict[str, object] = {
        "bootstrap_servers": broker.bootstrap_servers,
        "group_id": NAME,
        "input_topics": [INPUT],
        "output_topic": OUTPUT,
        "dead_letter_topic": DEAD_LETTERS,
        "start": "earliest",
    }
    tables: dict[str, dict[str, object]] = {"kafka": kafka, "http": {"port": 0}, "log": {"format": "json"}}
    path = settings.file("daemon.toml")
    models = [{"bundle": str(settings.file("bundle").resolve()), "allow_untrained_symbols": True}]
    path.write_text(toml_text.document(tables, {"models": models}), "utf-8")
    return configuration.load(path, {})


def serve(settings: Settings, config: Config, ticks: int, broker: Broker, story: Story) -> str:
    """Start the daemon, play `played.csv`, watch until all is answered, stop the daemon; the provider it ran on.

    Raises TickcastError where a process ends before its time or nothing moves any more.
    """
    story.heading("start the daemon")
    started_s = time.monotonic()
    with DaemonChild(settings.file("daemon.toml"), settings.file("daemon.log")) as daemon:
        daemon.wait_until_ready()
        story.say(f"ready after {time.monotonic() - started_s:.1f} s, process {daemon.pid}")
        said = daemon.said("provider")
        story.say(": ".join(filter(None, (f"provider {said['provider']}", said.get("reason")))))
        story.heading(f"play {ticks:,} ticks at {settings.pace.text()}")
        _play(settings, config, ticks, daemon, broker, story)
        status = daemon.stop()
        if status:
            raise daemon.failure(f"ended with status {status} when asked to stop")
        story.say("every tick is committed; the daemon drained and ended with status 0")
    return str(said["provider"])


def audit(settings: Settings) -> dict[str, Account]:
    """By input partition, as `tickcast audit` finds it: a reader of its own, in a process of its own."""
    output = settings.file("audit.json")
    arguments = ["audit", "--config", str(settings.file("daemon.toml")), "--to", "end", "--json"]
    with processes.start(arguments, settings.file("audit.log"), output) as child:
        child.wait(statuses=(0, 1))  # 1: it does not add up, which is to be shown
        found = output.read_text("utf-8")
        if not found.startswith("{"):
            raise child.failure("gave no account")
    partitions = json.loads(found)["partitions"]
    for account in partitions.values():
        del account["adds_up"]  # follows from the rest
    return {name: Account(**account) for name, account in partitions.items()}


def _play(settings: Settings, config: Config, ticks: int, daemon: DaemonChild, broker: Broker, story: Story) -> None:
    servers = config.kafka.bootstrap_servers
    arguments = ["replay", str(settings.file("played.csv")), "--topic", INPUT, "--bootstrap-servers", servers]
    screen = demo_screen.on(story.console)
    try:
        with (
            Watch(config, ticks) as watch,
            processes.start(
                [*arguments, *settings.pace.options()], settings.file("replay.log"), settings.file("replay.out")
            ) as player,
        ):
            _follow(watch, screen, daemon, player, broker)
    finally:
        screen.close()


def _follow(watch: Watch, screen: Screen, daemon: DaemonChild, player: Child, broker: Broker) -> None:
    """Show what happens until every tick is played and committed. Raises TickcastError when something ends early."""
    moved_s, before = time.monotonic(), -1
    while True:
        broker.check()
        if daemon.ended():
            raise daemon.failure("ended while ticks were played")
        is_played = player.ended()  # asked before looking, so that the last look sees all that was played
        view = watch.look(str(daemon.health().get("detail", {}).get("status", "")))
        screen.show(view)
        committed = watch.committed() if is_played else -1
        if is_played and committed >= view.played:
            return
        if not is_played or committed != before:
            moved_s, before = time.monotonic(), committed
        if time.monotonic() - moved_s > STALL_MAX_S:
            raise BrokerError(f"the daemon has stood at {committed:,} of {view.played:,} ticks for {STALL_MAX_S:g} s")
        time.sleep(LOOK_INTERVAL_S)
