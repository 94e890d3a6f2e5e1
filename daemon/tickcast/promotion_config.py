"""The part of the configuration that says how a shadow comes to answer."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tickcast.config_section import Section


class PromotionConfig(Section):
    """Where a switch from one bundle to another is written down, and followed."""

    control_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,249}$")] = Field(
        "", description="compacted topic that says which bundle is in force; empty: what is configured answers"
    )
    follow_interval_ms: Annotated[int, Field(ge=10, le=3_600_000)] = Field(
        1_000, description="time between looks whether another bundle came into force"
    )
    audit_file: Path = Field(
        Path("promotions.jsonl"),
        description="where `tickcast promote` appends what was decided, by whom and why; a relative path starts at the "
        "file's folder",
    )
