"""The models of the retraining example: trained, exported and evaluated by the commands of these names.

Before the way of a tick.
"""

import json
from pathlib import Path

from tickcast.child_processes import Child

from tickcast_export.retrain_commands import Commands
from tickcast_export.retrain_settings import NAME, Settings


def train(settings: Settings, commands: Commands, ticks: str, version: str, bundle: str) -> None:
    """The file `ticks` -> the folder `bundle`, certified. Raises TickcastError."""
    model = settings.file(f"{NAME}-{version}.keras")
    options = {
        "family": settings.family,
        "name": NAME,
        "version": version,
        "window": settings.window,
        "units": settings.units,
        "second-units": settings.units,
        "attention-units": settings.units,
        "epochs": settings.epochs,
        "seed": settings.seed,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    commands.run("train", "--ticks", settings.file(ticks), "--out", model, *words, is_shown=True)
    commands.run("export", model, "--out", settings.file(bundle), "--force")


def evaluate(
    settings: Settings, commands: Commands, ticks: str, bundles: tuple[str, str]
) -> tuple[float | None, float | None]:
    """Shares of the squared error of no change that two bundles save on the end of `ticks`, means over horizons.

    Raises TickcastError.
    """
    # Beside each other: most of it is spent on loading libraries.
    with (
        _evaluating(settings, commands, ticks, bundles[0]) as first,
        _evaluating(settings, commands, ticks, bundles[1]) as second,
    ):
        first.wait()
        second.wait()
    return _evaluated(settings, bundles[0]), _evaluated(settings, bundles[1])


def _evaluating(settings: Settings, commands: Commands, ticks: str, bundle: str) -> Child:
    page, document = (_evaluation(settings, bundle, suffix) for suffix in ("html", "json"))
    given = settings.file(ticks), "--bundle", settings.file(bundle)
    return commands.start("evaluate", *given, "--no-baselines", "--out", page, "--json", document)


def _evaluated(settings: Settings, bundle: str) -> float | None:
    document = json.loads(_evaluation(settings, bundle, "json").read_text("utf-8"))
    saved = [one["by"]["model"]["below_persistence"]["value"] for one in document["horizons"]]
    return None if None in saved else sum(saved) / len(saved)


def _evaluation(settings: Settings, bundle: str, suffix: str) -> Path:
    return settings.file(f"evaluation-{Path(bundle).name}.{suffix}")
