"""The job on Bytewax: keyed by symbol, windows in the framework's own state, all that is queued for a key at once.

https://docs.bytewax.io/v0.21.0/api/bytewax/bytewax.operators.html#bytewax.operators.stateful_batch. Doing the same with
`flat_map_batch` and windows in a dict of the process was no faster, nor were two workers (`-w 2`), nor one thread.
No recovery folder is given, so that nothing is written to disk.
"""

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from job import Network, Place, Ring, Tick

# The source's default, "a suitable starting point for higher throughput dataflows"; 2,000 were no faster.
BATCH_RECORDS = 1_000
# The sink flushes after each batch, which does not wait so long; until then records gather into few requests. Half as
# fast again as with none.
LINGER_MS = 50

Message = KafkaSinkMessage[bytes, bytes]

place = Place.given()
network = Network(place.model, place.threads)


class Window(StatefulBatchLogic[Tick, Message, bytes]):
    """One symbol's window."""

    def __init__(self, state: bytes | None) -> None:
        self._ring = Ring(state)

    def on_batch(self, values: list[Tick]) -> tuple[list[Message], bool]:
        """Forecasts of what is queued for the symbol."""
        windows = [self._ring.push(tick) for tick in values]
        due = [(tick, window) for tick, window in zip(values, windows, strict=True) if window is not None]
        forecasts = network.answer([tick for tick, _ in due], [window for _, window in due])
        return [KafkaSinkMessage(key=key, value=value) for key, value in forecasts], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """What `__init__` goes on from."""
        return self._ring.state()


def keyed(batch: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, Tick]]:
    """Ticks by symbol."""
    ticks = [orjson.loads(message.value) for message in batch]
    return [(tick["symbol"], tick) for tick in ticks]


flow = Dataflow("forecasts")
brokers = [place.bootstrap_servers]
source = KafkaSource(brokers, [place.input_topic], batch_size=BATCH_RECORDS)
sink = KafkaSink(brokers, place.output_topic, add_config={"linger.ms": str(LINGER_MS)})
ticks = op.flat_map_batch("decode", op.input("ticks", flow, source), keyed)
op.output("publish", op.key_rm("bare", op.stateful_batch("answer", ticks, Window)), sink)
