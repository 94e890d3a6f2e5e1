"""Feeds the decode path and the field mapping what no topic should hold: seeded, bounded, guided by what it reaches.

`python -m chaos.fuzz --inputs 1000000 --seed 1`. Each input goes through the daemon's decoder and through its slow
specification. A mutant that shows something new is kept and mutated on: a new fate (the tick's kinds of numbers, or the
reason and text of the refusal, by mapping), which tells branches of the parser's C code apart, or, looked at in one of
`TRACED_EVERY` mutants, a new pair of successive lines of the decoder's Python. Ends with a table, and with status 1 if
anything but BadRecord was raised, a tick differs from the specification's or holds what it must not, or fewer than half
of the inputs were JSON.
"""

import argparse
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tickcast import codec, codec_fields, codec_json, market
from tickcast.config import InputConfig
from tickcast.errors import BadRecord, ConfigurationError, EmptyRecord, OversizeRecord
from tickcast.windows import Tick

from chaos import decode_coverage, fuzz_inputs, slow_decode
from chaos.fuzz_inputs import MAPPINGS, Input, Mapping

TRACED_FILES = frozenset(module.__file__ for module in (codec, codec_fields, codec_json, market))
TRACED_EVERY = 64  # tracing a decode costs ten of them
CORPUS_MAX = 2_000  # per mapping; then a new one takes the place of one chosen by chance
CORPUS_BYTES_MAX = 2_000  # longer inputs show nothing that shorter ones do not
CORPUS_BIAS = 4
FINDINGS_MAX = 20  # a bug shows up thousands of times
JSON_SHARE_MIN = 0.5
INT64 = range(-(2**63), 2**63)


class Target:
    """One mapping: its decoder, and the corpus that has been found for it."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.decoder = codec.decoder(mapping.config, mapping.columns)
        self.corpus = fuzz_inputs.seeds(mapping)
        paths = [mapping.config.columns.get(column, column) for column in mapping.columns]
        config = mapping.config
        paths += [config.symbol, config.event_time, config.sequence, config.halted_path]
        self.names = sorted({name for path in paths for name in path.split(".")} | {"other"})
        self._seen: set[object] = set()

    def is_new(self, shown: object) -> bool:
        """Whether `shown` was not shown before."""
        before = len(self._seen)
        self._seen.add(shown)
        return len(self._seen) > before

    def keep(self, found: Input, rng: random.Random) -> None:
        """Mutate on from `found`."""
        if len(found.value or b"") > CORPUS_BYTES_MAX:
            return
        if len(self.corpus) < CORPUS_MAX:
            self.corpus.append(found)
        else:
            self.corpus[rng.randrange(CORPUS_MAX)] = found


class Fuzzer:
    """Runs inputs and keeps count."""

    def __init__(self, seed: int) -> None:
        self.targets = [Target(mapping) for mapping in MAPPINGS]
        self.fates: Counter[str] = Counter()
        self.json = 0  # inputs that are JSON
        self.loose = 0  # inputs of which parsers may differ in whether they are
        self.findings: list[str] = []
        self.inputs = 0
        self._seed = seed
        self._rng = random.Random(seed)
        # A coverage tool's tracer must not be replaced.
        self._traces = sys.gettrace() is None

    def run(self, inputs: int) -> None:
        """First what no mapping can be, then that many mutants, the mappings in turn."""
        self.findings += [
            f"not refused: {config}, {columns}" for config, columns in fuzz_inputs.UNFIT if _fits(config, columns)
        ]
        rng = self._rng
        for number in range(inputs):
            target = self.targets[number % len(self.targets)]
            corpus = target.corpus
            # What was found first is nearest to what fits: from there most paths begin.
            parent = corpus[int(rng.random() ** CORPUS_BIAS * len(corpus))]
            mutant = fuzz_inputs.mutant(parent, corpus, target.names, rng)
            is_traced = self._traces and number // len(self.targets) % TRACED_EVERY == 0
            self._feed(target, mutant, is_traced)
            if len(self.findings) >= FINDINGS_MAX:
                return

    def _feed(self, target: Target, given: Input, is_traced: bool) -> None:
        arcs: set[tuple[str, int, int]] = set()
        with _traced(arcs) if is_traced else _untraced():
            tick, error = outcome(target.decoder, given)
        self.inputs += 1
        if error is not None and not isinstance(error, BadRecord):
            self._find(target, given, f"raised {error!r}")
            return
        fate = error.reason if isinstance(error, BadRecord) else tick.market or "tick" if tick else ""
        self.fates[fate] += 1
        reading = slow_decode.read(target.mapping.config, target.mapping.columns, given.record())
        self.json += reading.is_json
        self.loose += reading.is_loose
        if problem := problem_of(tick, error, reading, target.mapping, given):
            self._find(target, given, problem)
        shows_new = target.is_new((fate, re.sub(r"\d+", "#", str(error)) if error else _kinds(tick)))
        for arc in arcs:
            shows_new |= target.is_new(arc)
        if shows_new:
            target.keep(given, self._rng)

    def _find(self, target: Target, given: Input, problem: str) -> None:
        self.findings.append(f"seed {self._seed}, input {self.inputs}, {target.mapping.name}: {problem}\n  {given!r}")

    def table(self, elapsed_s: float) -> str:
        """What came of it."""
        rows = [
            ("inputs", f"{self.inputs:,}"),
            ("inputs a second", f"{self.inputs / elapsed_s:,.0f}"),
            ("of them JSON, past the parser", f"{self.json / self.inputs:.1%}"),
            ("of them such that parsers may differ", f"{self.loose / self.inputs:.1%}"),
            ("mappings", f"{len(self.targets)}"),
            ("inputs kept to mutate on", f"{sum(len(target.corpus) for target in self.targets):,}"),
            *((f"fate: {fate}", f"{count:,}") for fate, count in self.fates.most_common()),
            ("findings", f"{len(self.findings)}"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value:>12}" for name, value in rows)

    @property
    def holds(self) -> bool:
        """Whether nothing was found, and enough of it was worth the while."""
        return not self.findings and self.json >= JSON_SHARE_MIN * self.inputs


def _fits(config: InputConfig, columns: tuple[str, ...]) -> bool:
    try:
        codec.decoder(config, columns)
    except ConfigurationError:
        return False
    return True


def outcome(decoder: codec.Decoder, given: Input) -> tuple[Tick | None, Exception | None]:
    """What the daemon makes of `given`: a tick, or whatever it raises."""
    try:
        return decoder.decode(given.record()), None
    except Exception as error:  # what the fuzzer is there to find
        return None, error


def problem_of(
    tick: Tick | None, error: Exception | None, reading: slow_decode.Reading, mapping: Mapping, given: Input
) -> str:
    """What is wrong with an outcome; empty: nothing."""
    if tick is None:
        value = given.value
        is_empty, is_long = not value, value is not None and len(value) > mapping.config.record_bytes_max
        if isinstance(error, EmptyRecord) != is_empty or isinstance(error, OversizeRecord) != is_long:
            return f"refused for the wrong reason: {error!r}"
        if reading.tick is not None and not reading.is_loose:
            return f"refused ({error}), should be {reading.tick}"
        return ""
    if problem := _unfit(tick):
        return problem
    if reading.tick is None:
        return "" if reading.is_loose else f"taken as {tick}, should be refused"
    values = tuple(math.nan if value is None else value for value in reading.tick.values)
    same = all(a == b or (a != a and b != b) for a, b in zip(tick.values, values, strict=True))
    wanted = reading.tick._replace(values=tick.values)
    found = slow_decode.SlowTick(tick.symbol, tick.event_time_ns, tick.values, tick.sequence, tick.market, tick.cuts)
    return "" if same and found == wanted else f"taken as {tick}, should be {reading.tick}"


def _unfit(tick: Tick) -> str:
    """What a tick may not hold, whatever it was read from."""
    if tick.market is None and not all(map(math.isfinite, tick.values)):
        return f"not finite: {tick}"
    if tick.event_time_ns not in INT64:
        return f"a time of more than 64 bits: {tick}"
    if not 0 < len(tick.symbol.encode()) <= 4 * codec.SYMBOL_LENGTH_MAX:
        return f"a symbol that cannot be a key: {tick}"
    return ""


def _kinds(tick: Tick | None) -> object:
    """A tick in so few words that there are few such."""
    if tick is None:
        return None
    kinds = tuple(_kind(value) for value in tick.values)
    return tick.cuts, tick.symbol.isascii(), _kind(tick.event_time_ns), bool(tick.sequence), kinds


def _kind(value: float) -> str:
    size = abs(value)
    return "nan" if value != value else "0" if not value else "-" * (value < 0) + ("1" if 1e-6 < size < 1e12 else "e")


@contextmanager
def _traced(arcs: set[tuple[str, int, int]]) -> Iterator[None]:
    """Collects the pairs of successive lines of `TRACED_FILES`."""

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if name not in TRACED_FILES:
            return None
        before = frame.f_lineno

        def step(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal before
            arcs.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)


@contextmanager
def _untraced() -> Iterator[None]:
    yield


def main(arguments: list[str]) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="chaos.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage-inputs", type=int, default=0, help="at the end, so many more under coverage.py")
    given = parser.parse_args(arguments)
    fuzzer = Fuzzer(given.seed)
    start_s = time.perf_counter()
    fuzzer.run(given.inputs)
    lines = [fuzzer.table(time.perf_counter() - start_s), *fuzzer.findings]
    holds = fuzzer.holds
    if given.coverage_inputs:
        covered = decode_coverage.measured(given.coverage_inputs, given.seed)
        lines.append(covered.table())
        holds &= covered.holds
    sys.stdout.write("\n".join([*lines, ""]))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
