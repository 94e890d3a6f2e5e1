"""The `tickcast` command: a table of subcommands, each imported only when it is asked for.

Start-up time is part of the daemon's, so `tickcast run` imports nothing of the other commands, and the commands of
the extras cost nothing where they are not installed.
"""

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

import typer

from tickcast.errors import MissingExtraError, TickcastError


class Command(NamedTuple):
    """Where a subcommand lives: a module with one typer function of the command's name, `_` for what is no letter."""

    module: str
    summary: str
    extra: str = ""  # what to install where its imports fail


# One word, or two for those of a kind: `tickcast bench` alone lists the benches.
COMMANDS: dict[str, Command] = {
    "run": Command("tickcast.commands.run", "Answer ticks from Kafka until told to stop."),
    "check-config": Command("tickcast.commands.check_config", "Print every error of a configuration at once."),
    "verify": Command("tickcast.commands.verify", "Re-check a bundle's hashes and parity."),
    "audit": Command("tickcast.commands.audit", "Account for every tick of a topic; exit 1 if it does not add up."),
    "promote": Command("tickcast.commands.promote", "Let the shadow answer where its live error is lower; and back."),
    "shadow": Command("tickcast.commands.shadow", "Put a bundle into the shadow's place."),
    "replay": Command("tickcast.commands.replay", "Play a tick file into a topic."),
    "record": Command("tickcast.commands.record", "Write a time range of the input topics into a tick file."),
    "backtest": Command("tickcast.commands.backtest", "Answer ticks of files, or of topics again, as fast as can be."),
    "bench engine": Command("tickcast.commands.bench_engine", "Time the pipeline from record bytes to forecast bytes."),
    "bench kafka": Command("tickcast.commands.bench_kafka", "Time the daemon through a real broker, end to end."),
    "install-service": Command("tickcast.commands.install_service", "Put a systemd service in place."),
    "top": Command("tickcast.commands.top", "Show a running instance on a terminal."),
    "bench fleet": Command("tickcast.commands.bench_fleet", "Size a consumer group on paper, from measured costs."),
    "broker": Command("tickcast.commands.broker", "Run a local Kafka for development.", "demo"),
    "train": Command("tickcast_export.commands.train", "Train a model on tick files.", "export"),
    "export": Command("tickcast_export.commands.export", "Turn a model into a certified bundle.", "export"),
    "evaluate": Command("tickcast_export.commands.evaluate", "Score a bundle beside baselines, by day.", "export"),
    "demo": Command("tickcast_export.commands.demo", "Run the whole job on this machine and report.", "export,demo"),
    "retrain-demo": Command(
        "tickcast_export.commands.retrain_demo", "Retrain and promote, on a market that changes.", "export,demo"
    ),
    "version": Command("tickcast.commands.version", "Print the version."),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. A TickcastError ends the process with its message and its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(given or ["--help"])
    except TickcastError as error:
        print(f"tickcast: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def module_function(name: str) -> str:
    """The name of the function that command `name` is, in its module."""
    return name.replace("-", "_").replace(" ", "_")


def _run(given: Sequence[str]) -> None:
    name, arguments = _named(given)
    if name in ("-h", "--help", "help"):
        print(_help(COMMANDS))
        return
    group = {key: command for key, command in COMMANDS.items() if key.startswith(f"{name} ")}
    if group and set(arguments) <= {"-h", "--help"}:
        print(_help(group))
        return
    if name not in COMMANDS:
        _refuse(" ".join([name, *arguments[:1]]) if group else name, group or COMMANDS)
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if not command.extra:
            raise
        message = f"`tickcast {name}` needs {error.name}: pip install 'tickcast[{command.extra}]'"
        raise MissingExtraError(message) from error
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(getattr(module, module_function(name)))
    app(args=arguments, prog_name=f"tickcast {name}")


def _named(given: Sequence[str]) -> tuple[str, list[str]]:
    """The command's name, of two words where there is one of these two, and its arguments."""
    both = " ".join(given[:2])
    return (both, list(given[2:])) if both in COMMANDS else (given[0], list(given[1:]))


def _refuse(name: str, known: Mapping[str, Command]) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    print(f"tickcast: no command {name!r}{f'; did you mean {near[0]}?' if near else ''}", file=sys.stderr)
    print(_help(known), file=sys.stderr)
    sys.exit(2)


def _help(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join(["Usage: tickcast COMMAND [OPTIONS]", "", "Commands (each has --help):", *lines])
