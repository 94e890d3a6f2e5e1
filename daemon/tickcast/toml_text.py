"""Settings as TOML text, for whoever starts a daemon with a configuration made for it.

Before every stage of the way of a tick. Strings, numbers, booleans and lists of them are written alike in TOML and
JSON, which is all that a configuration needs.
"""

import json
from collections.abc import Mapping, Sequence

Section = Mapping[str, object]


def document(tables: Mapping[str, Section], arrays: Mapping[str, Sequence[Section]]) -> str:
    """A TOML document of `tables`, and of `arrays` of tables."""
    blocks = [_block(f"[{name}]", section) for name, section in tables.items()]
    blocks += [_block(f"[[{name}]]", section) for name, sections in arrays.items() for section in sections]
    return "\n\n".join(blocks) + "\n"


def _block(head: str, section: Section) -> str:
    return "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in section.items())])
