"""The forecasts that the files in `golden/` hold, one in each output format, as they were written when it was new.

`*.avsc` are the schemas that the Avro ones were written by; Protobuf needs none, its fields have numbers. What is added
to a forecast gets files of its own: those that are there stay as they are.
"""

from pathlib import Path

import msgspec
from tickcast import records

FOLDER = Path(__file__).parent / "golden"
FILES = {
    "json": FOLDER / "forecast-v1.json",
    "msgpack": FOLDER / "forecast-v1.msgpack",
    "avro": FOLDER / "forecast-v1.avro",
    "protobuf": FOLDER / "forecast-v1.pb",
}
AVRO_SCHEMA = FOLDER / "forecast-v1.avsc"
# With bands.
BANDED_FILES = {name: path.with_stem("forecast-v1-bands") for name, path in FILES.items()}
BANDED_AVRO_SCHEMA = AVRO_SCHEMA.with_stem("forecast-v1-bands")
# With bands and attention.
LEANING_FILES = {name: path.with_stem("forecast-v1-attention") for name, path in FILES.items()}
LEANING_AVRO_SCHEMA = AVRO_SCHEMA.with_stem("forecast-v1-attention")

FORECAST = records.Forecast(
    v=1,
    symbol="ES",
    topic="ticks",
    partition=3,
    offset=42,
    event_time_ns=1_700_000_000_123_456_789,
    tick_time_ns=1_700_000_000_124_000_000,
    received_time_ns=1_700_000_000_124_500_000,
    sent_time_ns=1_700_000_000_124_600_000,
    horizons=(1, 2),
    forecast=[0.25, -0.125],
    unit="price",
    reference_mid=4_500.125,
    skipped_before=0,
    bundle=records.BundleName("demo", "1", "0" * 64),
    path="finish",
    flags=(),
)
BANDED = msgspec.structs.replace(FORECAST, bands=records.Bands(0.9, [0.5, 0.75]))
LEANING = msgspec.structs.replace(BANDED, attention=[0.5, 0.125, 0.375])
