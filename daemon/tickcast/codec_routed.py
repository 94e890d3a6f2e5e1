"""The configured decoder: where bundles ask for different columns, each record is read for those of its symbol's own.

Stage `decode` of the way of a tick. Columns of all bundles read at once would be quicker, and wrong: a record that
lacks what another symbol's bundle asks for is none the worse for it. So the symbol is read first, then the tick.
"""

from collections.abc import Sequence

from tickcast import codec, schema_registry
from tickcast.clients import Record
from tickcast.codec import Decoder
from tickcast.config import Config, InputConfig
from tickcast.errors import ConfigurationError
from tickcast.known_schemas import Schemas
from tickcast.manifest import Manifest
from tickcast.symbols import Route
from tickcast.windows import Tick


class RoutedDecoder:
    """A decoder for records of several bundles' symbols."""

    def __init__(
        self, symbol_only: Decoder, by_model: Sequence[Decoder], route: Route, schemas: Schemas | None
    ) -> None:
        """`symbol_only` reads no columns; `schemas` are what all of them know of the registry's."""
        self.schemas = schemas
        self._symbol_only = symbol_only.decode
        self._decodes = [decoder.decode for decoder in by_model]
        self._route = route

    def decode(self, record: Record) -> Tick:
        """The tick in `record`; without values where no bundle answers its symbol. Raises a BadRecord."""
        tick = self._symbol_only(record)
        place = self._route(tick.symbol)
        return tick if place < 0 else self._decodes[place](record)


def configured(config: Config, manifests: Sequence[Manifest], route: Route) -> Decoder:
    """The decoder for the record columns of the configured bundles, asking the registry where records name schemas.

    Raises ConfigurationError for a mapping that does not fit, MissingExtraError where the format's library is absent.
    """
    known = Schemas(schema_registry.fetch(config.registry, config.input.format)) if config.input.is_framed else None
    wanted = [manifest.record_columns for manifest in manifests]
    if len(set(wanted)) == 1:
        return codec.decoder(config.input, wanted[0], known)
    _check(config.input, frozenset[str]().union(*wanted))
    made = {columns: codec.decoder(_part(config.input, columns), columns, known) for columns in wanted}
    return RoutedDecoder(codec.decoder(_bare(config.input), (), known), [made[each] for each in wanted], route, known)


def _check(config: InputConfig, columns: frozenset[str]) -> None:
    """Each column that is mapped has to be one of some bundle's."""
    for setting, named in (("columns", config.columns.keys()), ("book_columns", config.book_columns.values())):
        if unknown := sorted(set(named) - columns):
            allowed = ", ".join(sorted(columns))
            raise ConfigurationError(
                f"input.{setting}: {', '.join(unknown)}: no columns of the bundles; allowed: {allowed}"
            )


def _part(config: InputConfig, columns: Sequence[str]) -> InputConfig:
    """What of `config` is about a bundle with these columns."""
    mapped = {column: path for column, path in config.columns.items() if column in columns}
    book = {part: column for part, column in config.book_columns.items() if column in columns}
    return config.model_copy(update={"columns": mapped, "book_columns": book})


def _bare(config: InputConfig) -> InputConfig:
    """`config` without columns, and so without rules for what they show."""
    rules = dict.fromkeys(("halted", "one_sided", "crossed"), "accept")
    return _part(config, ()).model_copy(update=rules)
