"""Exactly once: forecasts, dead letters and the offsets they answer become visible together, or not at all.

Stages `produce`, `(acks)` and `commit` of the way of a tick. A transaction holds what `kafka.commit_interval_ms` gave
rise to. What is in it is remembered as it was encoded: when it has to be aborted, the same records go again in the next
one, but for those of partitions that are not ours any more. Windows have moved on meanwhile, and stay as they are.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tickcast import log, records
from tickcast.clients import Client, Committed, Headers, OnDelivery, Partition
from tickcast.clock import Clock
from tickcast.commits import ANSWER_TIMEOUT_S, SLICE_NS
from tickcast.config import Config
from tickcast.deliveries import Deliveries
from tickcast.errors import BrokerError, TransactionAbortedError
from tickcast.instruments import Instruments
from tickcast.offers import Offers
from tickcast.state_keeper import StateKeeper

# Between two attempts to end a transaction while partitions wait to be given back.
RETRY_PAUSE_S = 0.1
# What an attempt may take: acknowledgements, then the commit.
ROUND_NS = 2_000_000_000


class Outgoing(NamedTuple):
    """A record of the open transaction."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int | None = None

    @property
    def source(self) -> Partition:
        """The partition whose tick it answers."""
        return records.source_of(self.headers)[0]


class ExactlyOnce:
    """Fulfils `commits.Commits` by transactions."""

    def __init__(
        self,
        config: Config,
        client: Client,
        offers: Offers,
        deliveries: Deliveries,
        keeper: StateKeeper,
        instruments: Instruments,
        clock: Clock,
        alive: Callable[[], None],
    ) -> None:
        """`alive` is called while the loop waits for the cluster: waiting is no reason to be restarted."""
        self._interval_ns = config.kafka.commit_interval_ms * 1_000_000
        self._records_max = config.kafka.outstanding_max
        self._bytes_max = config.kafka.outstanding_bytes_max
        self._drain_timeout_ns = config.recovery.drain_timeout_ms * 1_000_000
        self._client = client
        self._offers = offers
        self._deliveries = deliveries
        self._keeper = keeper
        self._instruments = instruments
        self._clock = clock
        self._alive = alive
        self._log = log.get("transactions")
        self._sent: list[Outgoing] = []  # in the open transaction; bounded: a full one is ended
        self._sent_bytes = 0  # of their values
        self._open = False
        self._aborting = False
        self._closing: dict[Partition, Committed] | None = None  # the offsets that live state is handed over for
        self._ending: dict[Partition, Committed] | None = None  # the offsets to end it with, once that has begun
        self._undecided = False  # asked to commit, and no answer: it may be committed already
        self._claims: dict[Partition, Committed] = {}  # to be committed before anything is answered
        self._later: list[Outgoing] = []  # came while it was being ended: its offsets do not cover them
        self._void: set[Partition] = set()  # dropped while undecided: if not committed, their offsets count no more
        self._due_ns = 0

    @property
    def busy(self) -> bool:
        """See `Commits`: a transaction that is being ended takes no more records."""
        return self._aborting or self._closing is not None or self._ending is not None or bool(self._claims)

    in_a_hurry = False

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """See `Commits`. The record's headers name its source."""
        # In hand when a rebalance came upon a transaction that could not be ended.
        if self._closing is not None or self._ending is not None:
            self._later.append(Outgoing(topic, value, key, headers, partition))
            return
        self._add(topic, value, key, headers, on_delivery, partition)

    def advance(self) -> None:
        """See `Commits`."""
        now_ns = self._clock.monotonic_ns()
        is_full = len(self._sent) >= self._records_max or self._sent_bytes >= self._bytes_max
        if self.busy or is_full or now_ns >= self._due_ns:
            self._due_ns = now_ns + self._interval_ns
            self._end(self._offers.moved())
            return
        try:
            self._collect()
        except TransactionAbortedError as error:
            self._abort_for(error)

    def claim(self, offsets: Mapping[Partition, Committed]) -> None:
        """See `Commits`. Until it is done we are busy: no tick is answered before."""
        self._claims.update(offsets)
        self._end(self._offers.moved())

    def settle(self, leaving: Collection[Partition]) -> None:
        """See `Commits`."""
        if not self._offers.states:
            return
        for partition in leaving:
            self._claims.pop(partition, None)
        offsets = {**self._offers.moved(), **self._offers.released(leaving)}
        give_up_ns = self._clock.monotonic_ns() + self._drain_timeout_ns
        while True:
            begun_before = self._ending is not None or self._closing is not None
            self._end(offsets)
            if not self.busy and not begun_before:
                return
            if self.busy:
                if self._clock.monotonic_ns() + ROUND_NS > give_up_ns:
                    break
                self._alive()
                self._clock.sleep(RETRY_PAUSE_S)
        self._log.error("the transaction has not ended in time: these ticks are answered again")

    def dropped(self, partitions: Collection[Partition]) -> None:
        """See `Commits`. With answers to their ticks in it, the open transaction must not be committed.

        Unless it has been asked for: if it is committed, then with their offsets, before somebody else read these.
        """
        for partition in partitions:
            self._claims.pop(partition, None)
        self._later = [each for each in self._later if each.source not in partitions]
        if self._undecided:
            self._void.update(partitions)
            return
        self._leave_out(partitions)

    # -- private

    def _add(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        on_delivery: OnDelivery,
        partition: int | None = None,
    ) -> None:
        """Make a record part of the open transaction."""
        self._sent.append(Outgoing(topic, value, key, headers, partition))
        self._sent_bytes += len(value or b"")
        if self._aborting:
            return  # it goes with the others, in the next transaction
        try:
            self._begin()
            self._client.send(topic, value, key, headers, on_delivery, partition)
        except TransactionAbortedError as error:
            self._abort_for(error)

    def _begin(self) -> None:
        if not self._open:
            self._client.begin_transaction()
            self._open = True

    def _end(self, offsets: Mapping[Partition, Committed]) -> None:
        """Take the transaction one step towards its end; `offsets` count where that has not begun yet.

        Whatever may heal leaves us busy: the next step goes on from there.
        """
        try:
            if self._ending is None and not self._closed(offsets):
                return
            if self._aborting:
                self._start_over()
            if not self._aborting:
                self._commit()
        except TransactionAbortedError as error:
            self._abort_for(error)
        except BrokerError as error:
            if not error.retriable:
                raise
            self._instruments.commit_failures.add()
            self._log.warning("the transaction has not ended yet", error=str(error), aborting=self._aborting)

    def _closed(self, offsets: Mapping[Partition, Committed]) -> bool:
        """Hand over live state as of `offsets`, the last of the transaction; whether that is done, and it may end."""
        if self._closing is None:
            self._closing = dict(offsets)
            self._keeper.begin(offsets)
        while not self._keeper.handed_over:
            if not self._aborting:  # else nothing is sent, and what failed before is known
                load = self._deliveries.load(self._records_max, self._bytes_max)
                if load >= 1 and not self._client.flush(ANSWER_TIMEOUT_S):
                    return False
                self._collect()
            try:
                self._keeper.send(self._add, SLICE_NS)
            except BrokerError:
                self._aborting = True  # a part of it must not be committed
                raise
        self._ending, self._closing = {**self._closing, **self._claims}, None
        self._claims = {}
        return True

    def _commit(self) -> None:
        """Raises TransactionAbortedError or BrokerError where the transaction is still open afterwards."""
        assert self._ending is not None
        offsets = self._ending if self._undecided else self._offers.only_owned(self._ending)
        if offsets or self._sent:
            self._begin()
            if not self._client.flush(ANSWER_TIMEOUT_S):
                self._collect()
                raise BrokerError(f"{self._deliveries.outstanding} records are not acknowledged yet")
            self._collect()
            self._undecided = True
            self._client.commit_transaction(offsets, ANSWER_TIMEOUT_S)
            self._instruments.transactions["committed"].add()
            self._instruments.commits.add()
            self._offers.note(self._offers.only_owned(offsets))
        self._keeper.confirm()
        self._open, self._undecided, self._ending = False, False, None
        self._void = set()
        self._sent, self._later = self._later, []
        self._sent_bytes = sum(len(each.value or b"") for each in self._sent)
        self._aborting = bool(self._sent)  # none of it is sent yet: it goes as after an abort

    def _start_over(self) -> None:
        """Abort, and send what is still ours to answer again, the same bytes."""
        if self._open:
            self._client.abort_transaction(ANSWER_TIMEOUT_S)
            self._instruments.transactions["aborted"].add()
        self._deliveries.clear()
        self._open, self._aborting = False, False
        batch = self._deliveries.open()
        batch.sent, batch.bytes = len(self._sent), self._sent_bytes
        try:
            for each in self._sent:
                self._begin()
                self._client.send(each.topic, each.value, each.key, each.headers, batch.on_delivery, each.partition)
        except BrokerError:
            self._aborting = True  # a part of it must not be committed
            raise

    def _abort_for(self, error: TransactionAbortedError) -> None:
        self._aborting, self._undecided = True, False
        self._leave_out(self._void)
        self._void = set()
        self._log.warning("transaction to be aborted", error=str(error), records=len(self._sent))

    def _leave_out(self, gone: Collection[Partition]) -> None:
        """Neither offsets nor answers of `gone` may be committed; those that were sent already need an abort."""
        if self._ending is not None:
            self._ending = _without(self._ending, gone)
        if self._closing is not None:
            self._closing = _without(self._closing, gone)
        kept = [each for each in self._sent if each.source not in gone]
        if len(kept) < len(self._sent):
            self._sent, self._aborting = kept, True
            self._sent_bytes = sum(len(each.value or b"") for each in kept)

    def _collect(self) -> None:
        """Raises DeliveryError, or TransactionAbortedError where sending again may help."""
        for batch in self._deliveries.collect():
            self._instruments.answered(batch)


def _without(offsets: Mapping[Partition, Committed], gone: Collection[Partition]) -> dict[Partition, Committed]:
    return {partition: committed for partition, committed in offsets.items() if partition not in gone}
