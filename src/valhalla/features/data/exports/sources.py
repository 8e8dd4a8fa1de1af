"""What can be exported, by name: our tables, registries with their history, allow-listed views, and sandboxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.data import catalog
from valhalla.features.data.exports import rules, store
from valhalla.features.data.exports.contracts import Source
from valhalla.features.data.exports.errors import UnknownSource
from valhalla.features.observability.stream.rules import REGISTRIES
from valhalla.kernel.scopes import ADMIN
from valhalla.kit.changes import Feed
from valhalla.kit.db import SCHEMA
from valhalla.kit.relations import Column, Relation
from valhalla.kit.sql import literal

_RECORDS = (
    Column("key", "text"),
    Column("version", "integer"),
    Column("body", "json", "deep"),
    Column("created_at", "instant"),
    Column("updated_at", "instant"),
)
_HISTORY = (
    Column("revision", "integer"),
    Column("op", "text"),
    Column("key", "text"),
    Column("before", "json", "deep"),
    Column("after", "json", "deep"),
    Column("actor", "text", "personal"),
    Column("reason", "text"),
    Column("at", "instant"),
    Column("correlation_id", "text"),
)
# what people call them, too
_ALSO: Final[Mapping[str, str]] = MappingProxyType({"traces": "spans", "ledger": "audit"})
# rows of any kind are named by their registry
_DATA = "exports:read"


class Sources:
    """The names of everything that can be exported."""

    def __init__(self, feed: Feed, views: Sequence[str]) -> None:
        self._feed = feed
        self._views = rules.views(views)

    def names(self, registries: Sequence[str]) -> Mapping[str, str]:
        """Return every name with the scope that it needs; sandboxes are ``sandbox:`` and a reference."""
        found = {name: one.scope for name, one in catalog.SOURCES.items() if one.relation() is not None}
        for name in registries:
            found[f"registry:{name}"] = found[f"history:{name}"] = REGISTRIES.get(name, ADMIN)
        return found | {f"view:{name}": _DATA for name in self._views} | {"sandbox:<id or name>": "sandbox:read"}

    def find(self, conn: Connection, name: str) -> Source:
        """Return a source.

        Raises:
            UnknownSource: there is none of this name, or it is a view that nobody allowed.
        """
        name = _ALSO.get(name, name)
        kind, colon, rest = name.partition(":")
        if not colon:
            entry = catalog.SOURCES.get(name)
            relation = None if entry is None else entry.relation()
            if entry is not None and relation is not None:
                return Source(name, entry.scope, relation)
        elif kind == "sandbox" and rest:
            return Source(name, "sandbox:read", None)
        elif kind in ("registry", "history") and self._feed.registry(rest) is not None:
            return self._registry(name, kind, rest)
        elif kind == "view" and rest in self._views:
            return self._view(conn, name, rest)
        raise UnknownSource(f"nothing that can be exported is called {name[:100]!a}", source=ascii(name[:100]))

    def _registry(self, name: str, kind: str, registry: str) -> Source:
        where = f"t.registry = {literal(registry)}"
        if kind == "registry":
            relation = Relation(SCHEMA, "registry_records", _RECORDS, ("key",), "updated_at", where)
        else:
            relation = Relation(SCHEMA, "registry_changes", _HISTORY, ("revision",), "at", where)
        return Source(name, REGISTRIES.get(registry, ADMIN), relation)

    def _view(self, conn: Connection, name: str, view: str) -> Source:
        schema, table, key = self._views[view]
        columns = tuple(rules.view_column(*each) for each in store.describe(conn, schema, table))
        relation = Relation(schema, table, columns, key)
        if not columns:
            raise UnknownSource(f"the database has no view {view}", source=name)
        for part in key:
            relation.column(part)
        return Source(name, _DATA, relation)
