"""What every part of the configuration's tree is made of."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the tree: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
