"""The part of the configuration that says how forecasts are written."""

from typing import Literal

from pydantic import Field

from tickcast.config_section import Section


class OutputConfig(Section):
    """How a forecast becomes the value of a record."""

    format: Literal["json", "msgpack", "avro", "protobuf"] = Field(
        "json",
        description="encoding of the forecasts' values; `avro` and `protobuf` need the extra `registry`, and with "
        "`registry.url` carry the id of their schema",
    )
    auto_register: bool = Field(
        True,
        description="whether the schema of forecasts is registered under `<output topic>-value` where it is not yet; "
        "else it must be there",
    )
    attention: tuple[str, ...] = Field(
        (),
        description="shell patterns of the symbols whose forecasts say how much each row of the window weighed, where "
        "their bundle has attention; more bytes, and for single ticks a run of the window graph",
    )
