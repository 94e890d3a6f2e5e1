"""The loop: the one place that knows every stage of the way of a tick.

poll -> decode -> features -> windows.push -> schedule -> engine.run -> encode -> produce -> (acks) -> commit
                                   then engine.step <-/           \\-> when there is nothing to answer: engine.prefix
"""

from collections.abc import Sequence
from typing import NamedTuple

from tickcast.answering import Answered, Answering, Answerings
from tickcast.clients import Client, Partition, Record
from tickcast.clock import Clock
from tickcast.commits import Commits
from tickcast.config import Config
from tickcast.deliveries import Batch, Deliveries
from tickcast.errors import BadRecord
from tickcast.instruments import Instruments, Outcome
from tickcast.lag import Lag
from tickcast.ownership import Ownership
from tickcast.partition_state import PartitionState
from tickcast.publisher import Received, Work
from tickcast.symbols import UNANSWERED
from tickcast.windows import Row

# A poll that is full means a backlog, unless polls are so small that they are full without one.
BACKLOG_MIN = 64


class Tally(NamedTuple):
    """What became of one partition's records of a poll."""

    topic: str
    processed: int
    outcomes: Sequence[Outcome]  # of the ticks processed
    evicted: int


class Pipeline:
    """Consumes, answers, publishes, commits; all on one thread."""

    def __init__(
        self,
        config: Config,
        client: Client,
        answerings: Answerings,
        ownership: Ownership,
        commits: Commits,
        deliveries: Deliveries,
        instruments: Instruments,
        clock: Clock,
    ) -> None:
        self._kafka = config.kafka
        self._client = client
        self.swap(answerings)
        self._ownership = ownership
        self._rebuilds = ownership.rebuilds
        self._commits = commits
        self._deliveries = deliveries
        self._instruments = instruments
        self._clock = clock
        self._lag = Lag(config.lag, instruments) if config.lag.active else None
        self._paused_since_ns: int | None = None
        self.pause_reason = ""
        self._tallies: list[Tally] = []  # of this poll

    def turn(self) -> bool:
        """Take what is there, answer it, publish; with nothing there, prepare carries. Then commit what is due.

        Returns whether there was anything to answer or to prepare.
        """
        # With carries to prepare a look is enough: a slice of them is the longest a tick waits.
        wait_s = 0.0 if self._carries_wanted else min(self._kafka.poll_timeout_ms, self._ownership.wait_ms_max) / 1_000
        records = self._client.poll(wait_s, self._kafka.poll_records_max)
        worked = bool(records) or self._carries_wanted or not self._rebuilds.is_waiting
        try:
            self._process(records)
        except BaseException:
            # Positions are ahead of what was sent: nothing may be committed on the way out, it is answered again.
            self._ownership.abandon()
            raise
        return worked

    def paused_ns(self, now_ns: int) -> int:
        """For how long the consumer has been paused, `pause_reason` says why; 0 where it is not."""
        return 0 if self._paused_since_ns is None else max(1, now_ns - self._paused_since_ns)

    def swap(self, answerings: Answerings) -> None:
        """From the next turn on these answer. Between two turns nothing is half processed."""
        self._answerings = answerings
        self._carries_wanted = answerings.carries_wanted
        self._route, self._decode = answerings.route, answerings.decoder.decode
        self._bury = answerings.each[0].publisher.bury  # no bundle has a say in it

    def _process(self, records: Sequence[Record]) -> None:
        received = Received(self._clock.wall_ns(), self._clock.monotonic_ns())
        self._instruments.stages.start()
        if records:
            self._answer(records, received, len(records) >= max(self._kafka.poll_records_max, BACKLOG_MIN))
        elif self._carries_wanted:
            self._answerings.prepare()
            self._carries_wanted = self._answerings.carries_wanted
        self._instruments.stages.book()
        self._answerings.turn()
        self._ownership.advance()
        if not self._rebuilds.is_waiting:
            self._rebuild()
        self._throttle()

    def _answer(self, records: Sequence[Record], received: Received, is_backlog: bool) -> None:
        batch = self._deliveries.open()
        works = self._decide(records, batch)
        answered = [
            self._publish(answering, work, received, batch)
            for answering, work in zip(self._answerings.each, works, strict=True)
            if work.rows
        ]
        # All forecasts are on their way: what makes the next ones quick, and what is made of these.
        for by, work, answers in answered:
            by.inference.settle(is_backlog)
            for watcher in by.watchers:
                watcher.note(work, answers, received)
        self._account(answered, received)
        self._carries_wanted = self._answerings.carries_wanted

    def _publish(self, by: Answering, work: Work, received: Received, batch: Batch) -> Answered:
        if self._lag is not None:
            remarks = self._lag.choose(work.rows, work.records, work.due, received.wall_ns)
            work = work._replace(remarks=remarks)
            by.publisher.pass_over(work)
        answered = []
        for answers in by.inference.answer(work.rows, work.due):
            by.publisher.publish(work, answers, received, batch)
            answered.append(answers)
        by.publisher.hand_over(work, batch)
        return Answered(by, work, answered)

    def _decide(self, records: Sequence[Record], batch: Batch) -> list[Work]:
        """Decode, and let the window rules decide: for each bundle its work. What is bad by itself is buried."""
        works = [Work([], [], []) for _ in self._answerings.each]
        begin = 0
        for end in range(1, len(records) + 1):  # records of one partition mostly come together
            partition = records[begin].partition
            if end == len(records) or records[end].partition != partition:
                state = self._ownership.states.get(partition)
                if state is not None:  # else given away meanwhile: its new owner answers
                    self._decide_part(records[begin:end], state, works, batch)
                begin = end
        self._instruments.stages.mark("decode")
        return works

    def _decide_part(self, records: Sequence[Record], state: PartitionState, works: list[Work], batch: Batch) -> None:
        windows = state.windows
        decode, route, decides = self._decode, self._route, windows.decides
        evicted = windows.evicted
        outcomes: list[Outcome] = []
        for record in records:
            try:
                tick = decode(record)
            except BadRecord as error:
                self._bury(record, error, batch)
                continue
            place = route(tick.symbol)
            if place < 0:
                outcomes.append(UNANSWERED[place])
                continue
            decision = decides[place](tick)
            outcomes.append(decision.fate)
            if (row := decision.row) is not None:
                rows, sources, due, _ = works[place]
                rows.append(row)
                sources.append(record)
                due.append(row.due)
        state.position = records[-1].offset + 1
        self._ownership.homes.look(state)
        self._tallies.append(Tally(state.partition.topic, len(records), outcomes, windows.evicted - evicted))

    def _rebuild(self) -> None:
        """A slice of what is read back while others are served: windows, then what came since the last commit."""
        is_alone = len(self._rebuilds) == len(self._ownership.states)
        # Which ticks of a backlog are the newest shows where much of it comes at once.
        catch_up = None if is_alone or self._lag is not None else self._catch_up
        may_answer = self._paused_since_ns is None and not self._commits.busy
        if self._rebuilds.turn(is_alone, self._refill, catch_up, may_answer):
            self._instruments.progress.set(self._clock.wall_ns() / 1e9)

    def _catch_up(self, records: Sequence[Record]) -> None:
        """Answer a slice of a backlog."""
        self._instruments.stages.start()
        self._answer(records, Received(self._clock.wall_ns(), self._clock.monotonic_ns()), is_backlog=True)
        self._instruments.stages.book()

    def _refill(self, records: Sequence[Record], state: PartitionState) -> None:
        """Decode and decide ticks that are answered already, for their windows' sake. Bad ones were buried then."""
        windows = state.windows
        decode, route, decides = self._decode, self._route, windows.decides
        evicted = windows.evicted
        made: list[list[Row]] = [[] for _ in self._answerings.each]
        for record in records:
            try:
                tick = decode(record)
            except BadRecord:
                continue
            if (place := route(tick.symbol)) >= 0 and (row := decides[place](tick).row) is not None:
                made[place].append(row)
        for answering, rows in zip(self._answerings.each, made, strict=True):
            if rows:
                answering.inference.refill(rows)
                self._instruments.rows.add(len(rows))
        self._instruments.evicted.add(windows.evicted - evicted)

    def _account(self, answered: Sequence[Answered], received: Received) -> None:
        """What the poll came to, in numbers: once everything is on its way."""
        instruments = self._instruments
        for by, work, _ in answered:
            by.publisher.account(work, received)
            instruments.rows.add(len(work.rows))
        for tally in self._tallies:
            instruments.processed[tally.topic].add(tally.processed)
            instruments.evicted.add(tally.evicted)
            instruments.count(tally.outcomes)
        self._tallies = []
        instruments.progress.set(received.wall_ns / 1e9)

    def _throttle(self) -> None:
        """Pause the consumer while too much is unacknowledged, until half of it is; or a transaction has to end."""
        load = self._deliveries.load(self._kafka.outstanding_max, self._kafka.outstanding_bytes_max)
        paused = self._paused_since_ns is not None
        if self._commits.busy or load > 1 or (paused and load > 0.5):
            self._client.pause(self._served())  # again each turn: partitions are taken up meanwhile
            waiting = f"{self._deliveries.outstanding} records are not acknowledged"
            self.pause_reason = "a transaction has not ended" if self._commits.busy else waiting
            if not paused:
                self._paused_since_ns = self._clock.monotonic_ns()
        elif paused:
            self._client.resume(self._served())
            self._paused_since_ns = None
        self._instruments.paused.set(float(self._paused_since_ns is not None))

    def _served(self) -> list[Partition]:
        """The partitions whose ticks are answered as they come; all others are paused anyway."""
        return [partition for partition in self._ownership.states if partition not in self._rebuilds]
