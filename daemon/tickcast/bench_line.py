"""A whole pipeline with nothing but a bench around it, and what one run of ticks through it comes to.

The way of a tick, from record bytes to forecast bytes handed to the producer, exactly as the daemon puts it together.
"""

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tickcast import model
from tickcast.assembly import Assembly
from tickcast.bench_client import DEAD_LETTER_TOPIC, OUTPUT_TOPIC, PARTITION, BenchClient
from tickcast.bench_load import Feed, Message
from tickcast.bench_sessions import SessionWatch
from tickcast.bench_stages import StageBoard
from tickcast.bundle import Bundle
from tickcast.clock import Clock
from tickcast.config import Config, InferenceConfig, InputConfig, KafkaConfig, ModelConfig, RecoveryConfig
from tickcast.engine import Engine
from tickcast.output_config import OutputConfig
from tickcast.shared_memory import SharedMemory
from tickcast.spotlight import Spotlight
from tickcast.tape import Tape
from tickcast.wish import Wish

# From the moment a schedule is set to its first tick.
LEAD_NS = 2_000_000
# Turns that may go by until everything is prepared that can be: a carry of each of 10,000 symbols.
SETTLING_TURNS_MAX = 10_000
# What a run may take of `recovery.replay_records_max` beside the fill, so that no window lapses.
MEASURED_TICKS_MAX = 10_000_000
# A shadow that has handed over nothing for so long has nothing left: it waits for company far shorter.
DRAINED_NS = 300_000_000
MEMORY = Path("/proc/self/statm")


class Extras(NamedTuple):
    """What a line does beside answering."""

    shadow: Path | None = None  # folder of a second bundle for the same ticks
    attention: tuple[str, ...] = ()  # shell patterns of symbols whose forecasts tell what they lean on
    bands: bool = False  # the bundle's own, which what is compared with does without

    def text(self) -> str:
        """For people."""
        parts = [f"a shadow ({self.shadow.name})"] if self.shadow is not None else []
        if self.attention:
            parts.append(f"attention of {', '.join(self.attention)}")
        if self.bands:
            parts.append("bands")
        return " and ".join(parts)


NOTHING = Extras()


class Turn(NamedTuple):
    """A turn of the loop that answered: which of the run's forecasts, and the seconds each stage took."""

    first: int
    end: int
    stages: dict[str, float]


@dataclass(frozen=True)
class Run:
    """What became of the ticks of one schedule."""

    ticks: int
    latencies_s: NDArray[np.float64]  # [forecasts], scheduled arrival -> handed to the producer
    waits_s: NDArray[np.float64]  # [forecasts], scheduled arrival -> in the loop's hands
    paths: NDArray[np.str_]  # [forecasts]
    turns: list[Turn]
    wall_s: float  # first arrival -> last forecast
    cpu_s: float  # of the whole process
    sessions_cpu_s: float  # of these inside onnxruntime
    session_runs: int


class Line:
    """One bundle under load. `fill` first; then as many runs as wanted."""

    def __init__(
        self,
        bundle: Bundle,
        inference: InferenceConfig,
        feed: Feed,
        sequence: bool,
        clock: Clock,
        extras: Extras = NOTHING,
    ) -> None:
        """`sequence`: the ticks carry sequence numbers.

        Raises as `Engine` and `model.around`, `load_shadow` and `together` do.
        """
        self.bundle = bundle
        self.feed = feed
        self._clock = clock
        self._fill = feed.fill(bundle.manifest.rules.window)
        self._watch = SessionWatch()
        with self._watch.opening():
            self._engine = Engine(bundle, inference)
        self._engine.warm()
        self.provider = self._engine.provider
        self.provider_reason = self._engine.provider_reason
        self._board = StageBoard.create(clock)
        self.shared = SharedMemory(self._board, Tape.create(), Wish.create())
        self._client = BenchClient(clock, self._fill)
        config = _config(bundle, inference, self._fill.ticks, sequence, extras)
        answers = model.around(self._engine, config)
        if extras.shadow is not None:
            answers = answers._replace(shadow=model.load_shadow(config, extras.shadow, bundle.manifest))
        ready = model.together(config, [answers])
        self._assembly = Assembly(
            config,
            ready,
            self._client,
            self._board,
            self.shared.tape,
            clock,
            _nothing,
            open_reader=self._client.open_reader,
        )
        self._pipeline, self._ownership = self._assembly.pipeline, self._assembly.ownership
        self._spotlight = Spotlight(self.shared.wish, self.shared.tape, clock)

    def fill(self) -> int:
        """Fill every window, silently; how many bytes the process grew by."""
        gc.collect()
        before = resident_bytes()
        while not self._client.filled:
            self._turn()
        gc.collect()
        return resident_bytes() - before

    @property
    def symbols(self) -> int:
        """Symbols that the pipeline remembers."""
        return sum(len(state.windows) for state in self._ownership.states.values())

    def settle(self) -> None:
        """Turn until there is nothing left to prepare."""
        for _ in range(SETTLING_TURNS_MAX):
            self._turn()
            if self._client.idle:
                return

    @property
    def shadow_forecasts(self) -> int:
        """What a shadow has handed over so far."""
        return self._client.beside

    def drain(self) -> None:
        """Turn until a shadow has worked off what it has."""
        quiet_until_ns = 0
        handed = -1
        while (now_ns := self._clock.monotonic_ns()) < quiet_until_ns or handed != self.shadow_forecasts:
            if handed != self.shadow_forecasts:
                handed, quiet_until_ns = self.shadow_forecasts, now_ns + DRAINED_NS
            self._turn()

    def run(self, messages: list[Message], arrivals_ns: NDArray[np.int64] | None, watched: bool = False) -> Run:
        """Feed `messages` [ticks], each at its time after the start. `watched`: know what the sessions take.

        Without arrivals each tick comes alone, when the loop is idle: nothing can be learnt about waiting then.
        """
        gc.collect()
        gc.freeze()  # as the daemon does once it is warm; the schedule of a run is no garbage either
        start_ns = self._clock.monotonic_ns() + LEAD_NS
        self._client.schedule(messages, None if arrivals_ns is None else arrivals_ns + start_ns)
        self._board.spent.clear()
        if watched:
            self._watch.start()
        cpu_s = time.process_time()
        turns = self._turns()
        cpu_s = time.process_time() - cpu_s
        self._watch.stop()
        forecasts, due_ns = self._client.forecasts(), self._client.due_ns
        polled_ns = np.repeat(*np.array([(p.monotonic_ns, p.records) for p in self._client.polls], np.int64).T)
        answered_due_ns = due_ns[forecasts.ticks]
        ended_ns = forecasts.handed_ns.max(initial=start_ns)
        return Run(
            ticks=len(messages),
            latencies_s=(forecasts.handed_ns - answered_due_ns) / 1e9,
            waits_s=(polled_ns[forecasts.ticks] - answered_due_ns) / 1e9,
            paths=forecasts.paths,
            turns=turns,
            wall_s=float(ended_ns - due_ns[0]) / 1e9,
            cpu_s=cpu_s,
            sessions_cpu_s=self._watch.cpu_s,
            session_runs=self._watch.runs,
        )

    def close(self) -> None:
        """Let go of the shared memory; the pipeline gives its partition back."""
        self._client.close(0.0)
        self.shared.close()
        gc.unfreeze()

    def _turn(self) -> None:
        """As the daemon's loop."""
        self._pipeline.turn()
        self._board.turn(self._clock.monotonic_ns())
        self._assembly.explain(self._spotlight)

    def _turns(self) -> list[Turn]:
        turns = []
        spent, client = self._board.spent, self._client
        first = client.handed
        while not client.exhausted:
            self._turn()
            end = client.handed
            if end > first:
                turns.append(Turn(first, end, dict(spent)))
                first = end
            spent.clear()
        return turns


def resident_bytes() -> int:
    """Memory of this process that is not swapped out."""
    pages = int(MEMORY.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _config(bundle: Bundle, inference: InferenceConfig, fill_ticks: int, sequence: bool, extras: Extras) -> Config:
    return Config(
        name="bench",
        kafka=KafkaConfig(
            bootstrap_servers="none",
            group_id="bench",
            input_topics=(PARTITION.topic,),
            output_topic=OUTPUT_TOPIC,
            dead_letter_topic=DEAD_LETTER_TOPIC,
        ),
        input=InputConfig(sequence="sequence" if sequence else ""),
        output=OutputConfig(attention=extras.attention),
        models=(ModelConfig(bundle=bundle.folder, allow_untrained_symbols=True, shadow=extras.shadow),),
        inference=inference,
        recovery=RecoveryConfig(replay_records_max=fill_ticks + MEASURED_TICKS_MAX),
    )


def _nothing() -> None:
    """No supervisor waits to hear of this loop."""
