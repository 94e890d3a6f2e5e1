"""What the schema registry is being asked, on a thread beside the loop.

Stage `poll` of the way of a tick, of records in the schema registry's wire format. A registry that does not answer is
asked again and again, and `reason` says so.
"""

import threading
from collections import deque
from collections.abc import Iterable

from tickcast import log
from tickcast.clock import Clock
from tickcast.errors import RegistryError
from tickcast.known_schemas import Fetch, Schema, Schemas

# Until a registry that did not answer is asked again.
RETRY_PAUSE_NS = 500_000_000
# Schemas asked for in one go: records that only look as if they named one may name any number.
ASKED_MAX = 64


class SchemaQuestions:
    """Settles schemas. All of it is called on the loop's thread."""

    def __init__(self, schemas: Schemas, clock: Clock) -> None:
        self.schemas = schemas
        self.reason = ""  # why the registry has not answered the last question; empty where it has
        self._clock = clock
        self._log = log.get("schemas")
        self._asking: _Asking | None = None
        self._due_ns = 0

    def ask(self, numbers: Iterable[int], wait_s: float) -> None:
        """See to it that `numbers` become settled; what is answered within `wait_s` is when this returns."""
        self._take()
        if self._asking is None and self._clock.monotonic_ns() >= self._due_ns:
            wanted = [number for number in dict.fromkeys(numbers) if not self.schemas.is_settled(number)][:ASKED_MAX]
            if wanted:
                self._asking = _Asking(self.schemas.fetch, wanted)
                self._asking.start()
                self._asking.join(wait_s)
                self._take()

    def adopt(self, schemas: Schemas) -> None:
        """From now on `schemas` are settled, which begin with what those before knew."""
        schemas.learn(self.schemas)
        self.schemas = schemas

    def _take(self) -> None:
        """Note what was answered since the last look."""
        asking = self._asking
        if asking is None:
            return
        is_over = not asking.is_alive()  # asked before the answers are taken: none can come after it
        while asking.answers:
            number, schema = asking.answers.popleft()
            self.schemas.settle(number, schema)
            self._log.info("schema", number=number, kind=schema.kind if schema else "unknown to the registry")
        if is_over:
            self._asking = None
            if asking.failed is not None:
                self._due_ns = self._clock.monotonic_ns() + RETRY_PAUSE_NS
                self._log.warning("schema not known yet", reason=str(asking.failed))
            self.reason = str(asking.failed or "")


class _Asking(threading.Thread):
    """Asks for some schemas, up to the first that is not answered."""

    def __init__(self, fetch: Fetch, numbers: list[int]) -> None:
        super().__init__(name="schemas", daemon=True)
        self.answers: deque[tuple[int, Schema | None]] = deque()
        self.failed: RegistryError | None = None
        self._fetch = fetch
        self._numbers = numbers

    def run(self) -> None:
        try:
            for number in self._numbers:
                self.answers.append((number, self._fetch(number)))
        except RegistryError as error:
            self.failed = error
