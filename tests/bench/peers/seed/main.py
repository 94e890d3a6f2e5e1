"""The job as the seed's system does it: one process, Keras' `predict` for each tick.

Runs in the project's own environment, whose extra `export` has Keras.
"""

from collections import defaultdict, deque

import keras
import numpy as np
import orjson
import tickcast_export.families  # noqa: F401  the model's layers become known to Keras
from confluent_kafka import Consumer, Producer
from job import WINDOW, Place, encode, features

place = Place.given()
model = keras.models.load_model(place.model, compile=False)
consumer = Consumer(
    {"bootstrap.servers": place.bootstrap_servers, "group.id": place.group, "auto.offset.reset": "earliest"}
)
consumer.subscribe([place.input_topic])
producer = Producer({"bootstrap.servers": place.bootstrap_servers})
windows: dict[str, deque[tuple[float, ...]]] = defaultdict(lambda: deque(maxlen=WINDOW))

while True:
    message = consumer.poll(1.0)
    if message is None:
        continue
    tick = orjson.loads(message.value())
    window = windows[tick["symbol"]]
    window.append(features(tick))
    if len(window) == WINDOW:
        rows = np.array(window, np.float32)[None]  # [1, window, features]
        forecast = model.predict(rows, verbose=0)[0].tolist()
        record = encode(tick, forecast)
        producer.produce(place.output_topic, record.value, record.key)
        producer.poll(0)
