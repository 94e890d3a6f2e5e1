"""Settings of what becomes of ticks that the daemon is late for."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tickcast.config_section import Section


class LagConfig(Section):
    """What is answered when ticks come faster than answers, or are old when they come."""

    on_lag: Literal["every", "latest"] = Field(
        "every", description="`latest`: of a symbol's due ticks in one poll only the newest is answered"
    )
    max_age_ms: Annotated[int, Field(ge=0, le=86_400_000)] = Field(
        0, description="a tick received longer than this after its Kafka timestamp is stale; 0: none is"
    )
    on_stale: Literal["flag", "skip"] = Field(
        "flag", description="what becomes of a stale tick: its forecast has the flag `stale`, or it gets none"
    )

    @model_validator(mode="after")
    def _an_age_is_given(self) -> "LagConfig":
        if self.on_stale == "skip" and not self.max_age_ms:
            raise ValueError("on_stale: `skip` needs max_age_ms, above 0")
        return self

    @property
    def skips(self) -> bool:
        """Whether a due tick may go without a forecast."""
        return self.on_lag == "latest" or self.on_stale == "skip"

    @property
    def active(self) -> bool:
        """Whether the clock has any say in what is answered, or how."""
        return self.skips or self.max_age_ms > 0
