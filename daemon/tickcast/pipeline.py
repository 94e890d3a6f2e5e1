"""The loop: the one place that knows every stage of the way of a tick.

poll -> decode -> features -> windows.push -> schedule -> engine.run -> encode -> produce -> (acks) -> commit
                                                     \\-> when there is nothing to answer: engine.prefix
"""

from collections.abc import Sequence
from typing import NamedTuple

from tickcast import symbols
from tickcast.clients import Client, Record
from tickcast.clock import Clock
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.deliveries import Batch, Deliveries
from tickcast.errors import BadRecord
from tickcast.inference import Inference
from tickcast.instruments import Instruments
from tickcast.ownership import Ownership
from tickcast.partition_state import PartitionState
from tickcast.publisher import Due, Publisher, Received
from tickcast.windows import Row, Tick

# Windows per prefix run: a batch of 4 costs 1.75 of a single one, and a tick that comes meanwhile waits that long.
PREFIX_SLICE = 4


class Work(NamedTuple):
    """What a poll comes to: rows in the order they were decided, which of them are due, and for which ticks."""

    rows: list[Row]
    due: list[bool]
    ticks: list[Due]


class Pipeline:
    """Consumes, answers, publishes, commits; all on one thread."""

    def __init__(
        self,
        config: Config,
        client: Client,
        decoder: Decoder,
        inference: Inference,
        publisher: Publisher,
        ownership: Ownership,
        deliveries: Deliveries,
        instruments: Instruments,
        clock: Clock,
    ) -> None:
        self._kafka = config.kafka
        self._client = client
        self._decoder = decoder
        self._inference = inference
        self._publisher = publisher
        self._ownership = ownership
        self._deliveries = deliveries
        self._instruments = instruments
        self._clock = clock
        self._has_model = symbols.matcher(config.models[0].symbols)
        self._carries_wanted = False
        self._paused = False

    def turn(self) -> None:
        """Take what is there, answer it, publish; with nothing there, prepare carries. Then commit what is due."""
        # With carries to prepare a look is enough: a slice of them is the longest a tick waits.
        wait_s = 0.0 if self._carries_wanted else self._kafka.poll_timeout_ms / 1_000
        records = self._client.poll(wait_s, self._kafka.poll_records_max)
        try:
            self._process(records)
        except BaseException:
            # Positions are ahead of what was sent: nothing may be committed on the way out, it is answered again.
            self._ownership.abandon()
            raise

    def _process(self, records: Sequence[Record]) -> None:
        received = Received(self._clock.wall_ns(), self._clock.monotonic_ns())
        self._instruments.stages.start()
        if records:
            batch = self._deliveries.open()
            work = self._decide(records, batch)
            answers = self._inference.answer(work.rows, work.due)
            self._publisher.publish(work.ticks, answers, received, batch)
            self._instruments.rows.add(len(work.rows))
            self._instruments.progress.set(received.wall_ns / 1e9)
            self._carries_wanted = self._inference.carries_wanted
        elif self._carries_wanted:
            self._inference.prepare(PREFIX_SLICE)
            self._carries_wanted = self._inference.carries_wanted
        self._ownership.advance()
        self._throttle()

    def _decide(self, records: Sequence[Record], batch: Batch) -> Work:
        """Decode, and let the window rules decide. What is bad by itself goes to the dead-letter topic."""
        work = Work([], [], [])
        instruments = self._instruments
        for record in records:
            state = self._ownership.states.get(record.partition)
            if state is None:  # given away meanwhile: its new owner answers
                continue
            state.position = record.offset + 1
            publishes = record.offset >= state.publish_from
            counter = instruments.processed if publishes else instruments.replayed
            counter[record.partition.topic].add()
            try:
                tick = self._decoder.decode(record)
            except BadRecord as error:
                if publishes:
                    self._publisher.bury(record, error, batch)
                continue
            self._admit(record, tick, state, publishes, work)
        instruments.stages.mark("decode")
        return work

    def _admit(self, record: Record, tick: Tick, state: PartitionState, publishes: bool, work: Work) -> None:
        instruments = self._instruments
        if not self._has_model(tick.symbol):
            if publishes:
                instruments.skipped["no_model"].add()
            return
        evicted = state.windows.evicted
        fate, row = state.windows.decide(tick)
        instruments.evicted.add(state.windows.evicted - evicted)
        if row is not None:
            due = row.due and publishes
            work.rows.append(row)
            work.due.append(due)
            if due:
                work.ticks.append(Due(record, tick, row))
        if publishes and fate == "warming":
            instruments.warming.add()
        elif publishes and fate != "forecast":
            instruments.skipped[fate].add()

    def _throttle(self) -> None:
        """Pause the consumer while too much is unacknowledged; go on when half of it is."""
        outstanding, limit = self._deliveries.outstanding, self._kafka.outstanding_max
        if outstanding > limit or (self._paused and outstanding > limit // 2):
            self._client.pause(list(self._ownership.states))  # again each turn: new partitions come unpaused
            self._paused = True
        elif self._paused:
            self._client.resume(list(self._ownership.states))
            self._paused = False
        self._instruments.paused.set(float(self._paused))
