"""The part of the configuration that says what a restart goes on from."""

from typing import Annotated

from pydantic import Field

from tickcast.config_section import Section

# In place of a topic's name: nothing is kept.
NONE = "none"


class RecoveryConfig(Section):
    """What a restart may rebuild windows from, and what else lives on."""

    replay_records_max: int = Field(
        500_000,
        ge=1,
        description="R: how many offsets back a window's ticks may lie; part of what a forecast is a function of",
    )
    max_symbols: int = Field(
        1_000_000, ge=1, description="most symbols remembered per partition; the longest silent one goes first"
    )
    drain_timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] = Field(
        10_000, description="longest wait for acknowledgements when stopping or giving partitions up"
    )
    state_topic: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,249}$",
        description="compacted topic that bands, scores and drift are kept in; default: `<output topic>-state`; "
        "`none`: they begin anew with each start",
    )

    def topic_of(self, output_topic: str) -> str | None:
        """The topic that live state is kept in, None where it is not."""
        name = self.state_topic or f"{output_topic}-state"
        return None if name == NONE else name
