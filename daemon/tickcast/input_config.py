"""The part of the configuration that says how a topic's records read: its schema, and its rules for market states."""

from typing import Literal

from pydantic import Field, model_validator

from tickcast.config_section import Section

# What becomes of a tick that shows a market state; see `market.py`.
MarketRule = Literal["accept", "skip", "reset", "dead_letter"]
# Formats whose bytes say nothing without a schema.
SCHEMA_FORMATS = ("avro", "protobuf")


class InputConfig(Section):
    """How a record of the input topic reads as a tick."""

    format: Literal["json", "msgpack", "avro", "protobuf"] = Field(
        "json", description="encoding of the records' values; `avro` and `protobuf` need the extra `registry`"
    )
    schema_file: str = Field(
        "",
        description="with `avro` its schema (JSON), with `protobuf` a descriptor set (`protoc -o`), where records are "
        "bare; empty: each record names its schema in `[registry]`",
    )
    message: str = Field("", description="with `protobuf` and `schema_file`: full name of the records' message")
    symbol: str = Field("symbol", description="path of the symbol; `kafka_key`: the record's key")
    event_time: str = Field(
        "event_time_ns", description="path of the event time; `kafka_timestamp`: the record's timestamp"
    )
    event_time_unit: Literal["ns", "us", "ms", "s"] = Field("ns", description="unit of `event_time`")
    sequence: str = Field("", description="path of the exchange's sequence number; empty: there is none")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description='column of the bundle -> path in the record, where they differ (`bid = "data.b"`)',
    )
    one_sided: MarketRule = Field("accept", description="a book without a side: its price or size null, absent or 0")
    crossed: MarketRule = Field("accept", description="a book whose bid is above its ask; at the same price it is none")
    halted: MarketRule = Field("accept", description="a halted market, by what stands at `halted_path`")
    halted_path: str = Field("", description="path of what says that the market is halted; empty: nothing does")
    halted_values: tuple[str, ...] = Field(("true",), description="what stands there then, as text", min_length=1)
    book_columns: dict[Literal["bid", "ask", "bid_size", "ask_size"], str] = Field(
        default_factory=dict, description="part of the book -> column of the bundle, where it is called otherwise"
    )
    record_bytes_max: int = Field(1_000_000, ge=1, description="longer records go to the dead-letter topic")
    dead_letter_bytes_max: int = Field(
        900_000, ge=0, le=900_000, description="most bytes of a bad record that its dead letter repeats"
    )

    @model_validator(mode="after")
    def _halted_is_told(self) -> "InputConfig":
        if self.halted != "accept" and not self.halted_path:
            raise ValueError("halted: needs halted_path, the field that says so")
        return self

    @model_validator(mode="after")
    def _schema_is_of_use(self) -> "InputConfig":
        if self.schema_file and self.format not in SCHEMA_FORMATS:
            raise ValueError(f"schema_file: of no use with format = {self.format}")
        is_named = self.format == "protobuf" and bool(self.schema_file)
        if bool(self.message) != is_named:
            raise ValueError("message: needed with format = protobuf and schema_file, and of no use otherwise")
        return self

    @property
    def is_framed(self) -> bool:
        """Whether each record names its schema, for a registry to say what it is."""
        return self.format in SCHEMA_FORMATS and not self.schema_file
