"""The loop: the one place that knows every stage of the way of a tick.

poll -> decode -> features -> windows.push -> schedule -> engine.run -> encode -> produce -> (acks) -> commit
                                   then engine.step <-/           \\-> when there is nothing to answer: engine.prefix
"""

from collections.abc import Sequence
from typing import NamedTuple

from tickcast import symbols
from tickcast.carried_inference import CarriedInference
from tickcast.clients import Client, Record
from tickcast.clock import Clock
from tickcast.codec import Decoder
from tickcast.config import Config
from tickcast.deliveries import Batch, Deliveries
from tickcast.errors import BadRecord
from tickcast.inference import Inference
from tickcast.instruments import Instruments, Outcome
from tickcast.ownership import Ownership
from tickcast.partition_state import PartitionState
from tickcast.publisher import Publisher, Received, Work

# A poll that is full means a backlog, unless polls are so small that they are full without one.
BACKLOG_MIN = 64


class Tally(NamedTuple):
    """What became of one partition's records of a poll."""

    topic: str
    processed: int
    replayed: int
    outcomes: Sequence[Outcome]  # of the ticks processed
    evicted: int


class Pipeline:
    """Consumes, answers, publishes, commits; all on one thread."""

    def __init__(
        self,
        config: Config,
        client: Client,
        decoder: Decoder,
        inference: Inference | CarriedInference,
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
        self._tallies: list[Tally] = []  # of this poll

    def turn(self) -> bool:
        """Take what is there, answer it, publish; with nothing there, prepare carries. Then commit what is due.

        Returns whether there was anything to answer or to prepare.
        """
        # With carries to prepare a look is enough: a slice of them is the longest a tick waits.
        wait_s = 0.0 if self._carries_wanted else self._kafka.poll_timeout_ms / 1_000
        records = self._client.poll(wait_s, self._kafka.poll_records_max)
        worked = bool(records) or self._carries_wanted
        try:
            self._process(records)
        except BaseException:
            # Positions are ahead of what was sent: nothing may be committed on the way out, it is answered again.
            self._ownership.abandon()
            raise
        return worked

    def _process(self, records: Sequence[Record]) -> None:
        received = Received(self._clock.wall_ns(), self._clock.monotonic_ns())
        self._instruments.stages.start()
        if records:
            batch = self._deliveries.open()
            work = self._decide(records, batch)
            for answers in self._inference.answer(work.rows, work.due):
                self._publisher.publish(work, answers, received, batch)
            self._publisher.hand_over(work, batch)
            self._inference.settle(is_backlog=len(records) >= max(self._kafka.poll_records_max, BACKLOG_MIN))
            self._account(work, received)
            self._carries_wanted = self._inference.carries_wanted
        elif self._carries_wanted:
            self._inference.prepare()
            self._carries_wanted = self._inference.carries_wanted
        self._instruments.stages.book()
        self._ownership.advance()
        self._throttle()

    def _decide(self, records: Sequence[Record], batch: Batch) -> Work:
        """Decode, and let the window rules decide. What is bad by itself goes to the dead-letter topic."""
        work = Work([], [], [])
        begin = 0
        for end in range(1, len(records) + 1):  # records of one partition mostly come together
            partition = records[begin].partition
            if end == len(records) or records[end].partition != partition:
                state = self._ownership.states.get(partition)
                if state is not None:  # else given away meanwhile: its new owner answers
                    self._decide_partition(records[begin:end], state, work, batch)
                begin = end
        self._instruments.stages.mark("decode")
        return work

    def _decide_partition(self, records: Sequence[Record], state: PartitionState, work: Work, batch: Batch) -> None:
        windows = state.windows
        decode, decide, has_model = self._decoder.decode, windows.decide, self._has_model
        publish_from, evicted = state.publish_from, windows.evicted
        rows, sources, due = work
        outcomes: list[Outcome] = []
        for record in records:
            publishes = record.offset >= publish_from
            try:
                tick = decode(record)
            except BadRecord as error:
                if publishes:
                    self._publisher.bury(record, error, batch)
                continue
            outcome: Outcome = "no_model"
            if has_model(tick.symbol):
                decision = decide(tick)
                outcome, row = decision.fate, decision.row
                if row is not None:
                    rows.append(row)
                    sources.append(record)
                    due.append(row.due and publishes)
            if publishes:
                outcomes.append(outcome)
        state.position = records[-1].offset + 1
        published = len(records)
        if records[0].offset < publish_from:
            published = sum(record.offset >= publish_from for record in records)
        self._tallies.append(
            Tally(state.partition.topic, published, len(records) - published, outcomes, windows.evicted - evicted)
        )

    def _account(self, work: Work, received: Received) -> None:
        """What the poll came to, in numbers: once everything is on its way."""
        instruments = self._instruments
        self._publisher.account(work, received)
        for tally in self._tallies:
            instruments.processed[tally.topic].add(tally.processed)
            instruments.replayed[tally.topic].add(tally.replayed)
            instruments.evicted.add(tally.evicted)
            instruments.count(tally.outcomes)
        self._tallies = []
        instruments.rows.add(len(work.rows))
        instruments.progress.set(received.wall_ns / 1e9)

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
