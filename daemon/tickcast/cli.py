"""The `tickcast` command: a table of subcommands, each imported only when it is asked for.

Start-up time is part of the daemon's, so `tickcast run` imports nothing of the other commands, and the commands of
the extras cost nothing where they are not installed.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import typer

from tickcast.errors import MissingExtraError, TickcastError


class Command(NamedTuple):
    """Where a subcommand lives: a module with one typer function of the command's name."""

    module: str
    summary: str
    extra: str = ""  # what to install where its imports fail


COMMANDS: dict[str, Command] = {
    "run": Command("tickcast.commands.run", "Answer ticks from Kafka until told to stop."),
    "check-config": Command("tickcast.commands.check_config", "Print every error of a configuration at once."),
    "verify": Command("tickcast.commands.verify", "Re-check a bundle's hashes and parity."),
    "audit": Command("tickcast.commands.audit", "Account for every tick of a topic; exit 1 if it does not add up."),
    "replay": Command("tickcast.commands.replay", "Play a tick file into a topic."),
    "broker": Command("tickcast.commands.broker", "Run a local Kafka for development.", "demo"),
    "train": Command("tickcast_export.commands.train", "Train a model on tick files.", "export"),
    "export": Command("tickcast_export.commands.export", "Turn a model into a certified bundle.", "export"),
    "demo": Command("tickcast_export.commands.demo", "Run the whole job on this machine and report.", "export,demo"),
    "version": Command("tickcast.commands.version", "Print the version."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. A TickcastError ends the process with its message and its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(given[0] if given else "--help", given[1:])
    except TickcastError as error:
        print(f"tickcast: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def _run(name: str, arguments: Sequence[str]) -> None:
    if name in ("-h", "--help", "help"):
        print(_help())
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        print(
            f"tickcast: no command {name!r}{f'; did you mean {near[0]}?' if near else ''}\n{_help()}", file=sys.stderr
        )
        sys.exit(2)
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if not command.extra:
            raise
        message = f"`tickcast {name}` needs {error.name}: pip install 'tickcast[{command.extra}]'"
        raise MissingExtraError(message) from error
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(getattr(module, name.replace("-", "_")))
    app(args=list(arguments), prog_name=f"tickcast {name}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["Usage: tickcast COMMAND [OPTIONS]", "", "Commands (each has --help):", *lines])
