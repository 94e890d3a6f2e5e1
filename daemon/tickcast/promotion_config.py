"""The part of the configuration that says how a shadow comes to answer."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tickcast.config_section import Section

AUDIT_FILE = "promotions.jsonl"


class PromotionConfig(Section):
    """Where a switch from one bundle to another is written down, and followed."""

    control_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,249}$")] = Field(
        "", description="compacted topic that says which bundle is in force; empty: what is configured answers"
    )
    follow_interval_ms: Annotated[int, Field(ge=10, le=3_600_000)] = Field(
        1_000, description="time between looks whether another bundle came into force"
    )
    audit_file: Path = Field(
        Path(AUDIT_FILE),
        description="where `tickcast promote` appends what was decided, by whom and why; a relative path starts at the "
        "file's folder",
    )


def locate(tree: dict[str, Any], folder: Path) -> None:
    """Let the audit file's path, given or not, start at `folder`."""
    section = tree.setdefault("promotion", {})
    if isinstance(section, dict) and isinstance(named := section.get("audit_file", AUDIT_FILE), str):
        section["audit_file"] = str(folder / named)
