"""The part of the configuration that says which bundle answers which symbols."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from tickcast.config_section import Section

# Each holds graphs, windows and threads of its own.
MODELS_MAX = 16


class ModelConfig(Section):
    """A bundle and the symbols it answers."""

    bundle: Path = Field(description="folder made by `tickcast export`; a relative path starts at the file's folder")
    symbols: tuple[str, ...] = Field(
        ("*",),
        description="shell patterns of the symbols this bundle answers; of entries that match, the first one counts",
        min_length=1,
    )
    allow_untrained_symbols: bool = Field(
        False, description="whether it also answers symbols that match but are none of those it was trained for"
    )
    watch_interval_ms: Annotated[int, Field(ge=0, le=3_600_000)] = Field(
        0, description="time between looks whether the folder holds another bundle, to reload it; 0: only on SIGHUP"
    )
    shadow: Path | None = Field(
        None,
        description="folder of a second bundle that answers the same ticks to a topic of its own; empty: none",
        json_schema_extra={"default": ""},  # TOML has no null
    )
    shadow_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,249}$")] = Field(
        "", description="topic for the shadow's forecasts; default: the output topic's name and `-shadow`"
    )

    @field_validator("shadow", mode="before")
    @classmethod
    def _empty_is_none(cls, shadow: object) -> object:
        return None if shadow == "" else shadow

    def shadow_topic_of(self, output_topic: str) -> str:
        """Where the shadow's forecasts go."""
        return self.shadow_topic or f"{output_topic}-shadow"


def check_reached(models: Sequence[ModelConfig]) -> None:
    """Raises ValueError for an entry all of whose symbols those before it take."""
    taken: set[str] = set()
    for place, model in enumerate(models):
        if "*" in taken or taken.issuperset(model.symbols):
            raise ValueError(f"models.{place}.symbols: entries before it take all of these: it would never answer")
        taken.update(model.symbols)


def shadow_topics(models: Sequence[ModelConfig], output_topic: str) -> frozenset[str]:
    """Where the shadows' forecasts go."""
    return frozenset(model.shadow_topic_of(output_topic) for model in models if model.shadow is not None)


def entries(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a configuration's `models` that name a bundle, whatever else is wrong with it."""
    models = tree.get("models")
    found = models if isinstance(models, list) else []
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("bundle"), str)]


def locate(tree: dict[str, Any], folder: Path) -> None:
    """Let the paths of bundles start at `folder`."""
    for model in entries(tree):
        for key in ("bundle", "shadow"):
            if isinstance(named := model.get(key), str) and (named or key == "bundle"):
                model[key] = str(folder / named)
