"""The job on Quix Streams: a `BatchingSink`, its documented way to do something with many records at once.

https://quix.io/docs/quix-streams/connectors/sinks/custom-sinks.html: records are collected until the next checkpoint,
and written by topic and partition. Windows are kept in the process: with `stateful=True`, so in the framework's store,
it was up to a tenth slower; batches within `apply(expand=True)` have no checkpoint to be safe by.
"""

from confluent_kafka import Producer
from job import Forecaster, Place
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

# Each checkpoint waits for the broker twice; 4,096 were no faster.
CHECKPOINT_RECORDS = 1_024
# Each flush asks for everything at once and does not wait so long; until then records gather into few requests. A
# fifth faster than 5 ms, half as fast again as with none.
LINGER_MS = 50


class Forecasts(BatchingSink):
    """Answers what was collected since the last checkpoint, and publishes."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._forecaster = Forecaster(place)

    def setup(self) -> None:
        """Called once when the application starts."""
        self._producer = Producer({"bootstrap.servers": self._place.bootstrap_servers, "linger.ms": LINGER_MS})

    def write(self, batch: SinkBatch) -> None:
        """Called at a checkpoint for each partition; what is not acknowledged when it returns would be lost."""
        for key, value in self._forecaster.answer(item.value for item in batch):
            self._producer.produce(self._place.output_topic, value, key)
        self._producer.flush()


place = Place.given()
application = Application(
    broker_address=place.bootstrap_servers,
    consumer_group=place.group,
    auto_offset_reset="earliest",
    auto_create_topics=False,
    use_changelog_topics=False,
    commit_every=CHECKPOINT_RECORDS,
    loglevel="WARNING",
)
ticks = application.dataframe(application.topic(place.input_topic, value_deserializer="bytes"))
ticks.sink(Forecasts(place))

if __name__ == "__main__":
    application.run()
