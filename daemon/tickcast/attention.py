"""What forecasts lean on: how much each row of the window weighs, for the symbols that `output.attention` names.

Stage `engine.run` of the way of a tick, for these symbols only. The weights are the window graph's second output, over
the very rows that the forecast is about. Where the window graph answers anyway they cost one more output; a tick that
the finish graph has answered takes a run of the window graph before its forecast is encoded.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from tickcast import symbols
from tickcast.config import Config, ModelConfig
from tickcast.engine import Engine, Rows
from tickcast.errors import ConfigurationError
from tickcast.manifest import Manifest
from tickcast.windows import Row

# A weight is a float32 of at most 1: more digits say nothing, and would be half of a forecast's bytes.
DECIMALS = 8

# One per row of the window, oldest first, sum 1; None where nobody asks, or where they are no numbers.
Weights = list[float] | None


class Attention:
    """Of one bundle, for the symbols that are asked about."""

    def __init__(self, engine: Engine, patterns: Sequence[str]) -> None:
        """`engine` is of a bundle with attention."""
        self._engine = engine
        self._wants = symbols.matcher(patterns)

    def asked(self, rows: Sequence[Row], due: Sequence[bool], indices: Sequence[int]) -> list[int]:
        """Places in `indices` of the rows that are due and that somebody asks about."""
        wants = self._wants
        return [at for at, index in enumerate(indices) if due[index] and wants(rows[index].tick.symbol)]

    def answer(self, windows: Rows, places: Sequence[int]) -> tuple[Rows, list[Weights]]:
        """Forecasts [n, horizons] of windows [n, window, features], and the weights of those at `places`.

        Safe on several threads at once.
        """
        forecasts, weights = self._engine.attended(windows)
        told: list[Weights] = [None] * len(windows)
        for at, each in zip(places, _told(weights[list(places)]), strict=True):
            told[at] = each
        return forecasts, told

    def over(self, windows: Rows) -> list[Weights]:
        """The weights of each of windows [n, window, features]."""
        return _told(self._engine.attended(windows)[1])


def of(config: Config, place: int, engine: Engine) -> Attention | None:
    """For the bundle of the configuration's entry at `place`; None where nobody asks, or it has none."""
    manifest, patterns = engine.bundle.manifest, config.output.attention
    if not manifest.attention or not any(reaches(each, config.models[place], manifest) for each in patterns):
        return None
    return Attention(engine, patterns)


def check(config: Config, manifests: Sequence[Manifest], shadows: Sequence[Manifest | None] = ()) -> None:
    """Raises ConfigurationError for a pattern of `output.attention` that asks models without attention only.

    `manifests` are of the configured bundles, `shadows` of the bundles that may come to answer in their places.
    """
    problems = [
        problem
        for pattern in config.output.attention
        if (problem := _problem(pattern, config, manifests, shadows or [None] * len(manifests)))
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))


def remarks(config: Config, manifests: Sequence[Manifest]) -> Iterator[str]:
    """Which entries' forecasts carry none all the same, in words."""
    for place, (entry, manifest) in enumerate(zip(config.models, manifests, strict=True)):
        if not manifest.attention:
            for pattern in config.output.attention:
                if reaches(pattern, entry, manifest):
                    yield (
                        f"output.attention: {pattern!r} also fits symbols of models.{place}, whose bundle "
                        f"{manifest.name} {manifest.version} has no attention: their forecasts carry none"
                    )
                    break


def reaches(pattern: str, entry: ModelConfig, manifest: Manifest) -> bool:
    """Whether a symbol that fits `pattern` may be one that the entry's bundle answers."""
    trained = symbols.trained_symbols(entry, manifest)
    return _meets(pattern, entry.symbols) and (not trained or _meets(pattern, trained))


def _problem(
    pattern: str, config: Config, manifests: Sequence[Manifest], shadows: Sequence[Manifest | None]
) -> str | None:
    """What is wrong with `pattern`, in words."""
    reached = []
    for place, (entry, answering, shadow) in enumerate(zip(config.models, manifests, shadows, strict=True)):
        both = [each for each in (answering, shadow) if each is not None and reaches(pattern, entry, each)]
        if any(each.attention for each in both):
            return None
        reached += [f"models.{place}: {each.name} {each.version}" for each in both]
    if not reached:
        return f"output.attention: {pattern!r} fits no symbol that a bundle answers"
    return f"output.attention: {pattern!r} fits only symbols of bundles without attention ({', '.join(reached)})"


def _meets(pattern: str, others: Sequence[str]) -> bool:
    """Whether there is a symbol that fits `pattern` and one of `others`, most of which may be plain names."""
    return any(
        fnmatchcase(other, pattern) if symbols.WILDCARDS.isdisjoint(other) else symbols.overlap(pattern, other)
        for other in others
    )


def _told(weights: Rows) -> list[Weights]:
    """[n, window] as they are written."""
    rounded = weights.astype("float64").round(DECIMALS)
    finite = (rounded.sum(axis=1) < float("inf")).tolist()  # nor NaN
    return [each if holds else None for each, holds in zip(rounded.tolist(), finite, strict=True)]
