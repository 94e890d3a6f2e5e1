"""The forecast that the files in `golden/` hold, one in each output format, as it was written when the format was new.

`forecast-v1.avsc` is the schema that the Avro one was written by; Protobuf needs none, its fields have numbers.
"""

from pathlib import Path

from tickcast import records

FOLDER = Path(__file__).parent / "golden"
FILES = {
    "json": FOLDER / "forecast-v1.json",
    "msgpack": FOLDER / "forecast-v1.msgpack",
    "avro": FOLDER / "forecast-v1.avro",
    "protobuf": FOLDER / "forecast-v1.pb",
}
AVRO_SCHEMA = FOLDER / "forecast-v1.avsc"

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
