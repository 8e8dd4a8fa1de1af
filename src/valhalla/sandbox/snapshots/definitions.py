"""Reading every definition of a sandbox's schema, in an order in which all can be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from valhalla.sandbox.errors import SnapshotTooLarge, SnapshotUnsupported
from valhalla.sandbox.snapshots import objects, queries
from valhalla.sandbox.snapshots.objects import Row
from valhalla.sandbox.snapshots.ordering import Circle, Key, Node, ordered

MOST_OBJECTS: Final = 50_000
MOST_TEXT: Final = 64 * 2**20
_KINDS: Final = ("relations", "columns", "sequences", "types", "functions", "constraints", "aliases")


@dataclass(frozen=True, slots=True)
class Definitions:
    """The statements before and after the rows, the tables that have rows, and their columns."""

    before: list[str]
    after: list[str]
    tables: list[tuple[str, tuple[str, ...]]]


class Reader:
    """One look at a schema, over a connection whose search path is the schema alone."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self._rows: dict[str, list[Any]] = {}

    async def read(self) -> Definitions:
        """Return everything.

        Raises:
            SnapshotUnsupported: something is there that cannot be carried, or that needs itself.
            SnapshotTooLarge: there is too much of it.
        """
        await self._check()
        for kind in _KINDS:
            self._rows[kind] = await self._fetch(getattr(queries, kind.upper()))
        nodes = self._nodes()
        try:
            line = ordered(nodes, await self._needs())
        except Circle as circle:
            raise SnapshotUnsupported("some things need each other", objects=circle.statements[:20]) from circle
        split = max((i + 1 for i, node in enumerate(line) if node.rank == objects.TABLE), default=0)
        after = [node.statement for node in line[split:]]
        return Definitions([node.statement for node in line[:split]], after + await self._last(), self._tables())

    async def _fetch(self, query: str, *given: Any) -> list[Any]:
        return await self._connection.fetch(query, *given)

    async def _check(self) -> None:
        (volume,) = await self._fetch(queries.VOLUME)
        if volume["objects"] > MOST_OBJECTS or volume["size"] > MOST_TEXT:
            detail = f"{volume['objects']} definitions of {volume['size']} bytes are too many"
            raise SnapshotTooLarge(detail, limit=MOST_TEXT)
        left_out = [row[0] for row in await self._fetch(queries.UNSUPPORTED)]
        if left_out:
            raise SnapshotUnsupported("the sandbox holds what cannot be carried", objects=left_out)

    def _nodes(self) -> list[Node]:
        rows = self._rows
        columns: dict[int, list[Row]] = {}
        for row in rows["columns"]:
            columns.setdefault(row["attrelid"], []).append(row)
        identities: dict[int, dict[str, Row]] = {}
        for row in rows["sequences"]:
            if row["identity"]:
                identities.setdefault(row["table_oid"], {})[row["column_name"]] = row
        nodes = [
            objects.relation(row, columns.get(row["oid"], ()), identities.get(row["oid"], {}))
            for row in rows["relations"]
            if row["kind"] != "S"
        ]
        nodes += [objects.type_(row) for row in rows["types"]]
        nodes += [objects.function(row) for row in rows["functions"]]
        nodes += [objects.sequence(row) for row in rows["sequences"] if not row["identity"]]
        nodes += [objects.constraint(row) for row in rows["constraints"] if row["kind"] != "f"]
        return nodes

    async def _needs(self) -> Mapping[Key, set[Key]]:
        rows = self._rows
        aliases: dict[Key, Key] = {
            ("pg_type", row["oid"]): (row["class"], row["stands_for"]) for row in rows["aliases"]
        }
        views = [row["oid"] for row in rows["relations"] if row["kind"] in "vm"]
        rules = await self._connection.fetch(
            "SELECT oid FROM pg_catalog.pg_rewrite WHERE ev_class = ANY ($1::oid[]) AND rulename = '_RETURN'", views
        )
        # other defaults come last
        generated = [row["default_oid"] for row in rows["columns"] if row["generated"]]
        kinds = ("relations", "types", "functions", "constraints", "aliases")
        oids = [row["oid"] for kind in kinds for row in rows[kind]] + [row["oid"] for row in rules] + generated
        owned = {row["oid"] for row in rows["sequences"]}
        needs: dict[Key, set[Key]] = {}
        for row in await self._connection.fetch(queries.DEPENDENCIES, oids):
            if row["class"] == "pg_class" and row["objid"] in owned:
                # a sequence belongs to its column, which does not need to be there first
                continue
            source: Key = ("pg_class", row["view_oid"] or row["default_table"] or 0)
            if row["class"] not in ("pg_rewrite", "pg_attrdef"):
                source = (row["class"], row["objid"])
            target: Key = (row["refclass"], row["refobjid"])
            while source in aliases:
                source = aliases[source]
            while target in aliases:
                target = aliases[target]
            if source != target:
                needs.setdefault(source, set()).add(target)
        return needs

    async def _last(self) -> list[str]:
        rows = self._rows
        statements = objects.defaults(rows["relations"], rows["columns"])
        for row in rows["sequences"]:
            # the name is quoted already
            value = await self._connection.fetchrow(f"SELECT last_value, is_called FROM {row['name']}")  # noqa: S608
            assert value is not None
            statements += objects.numbers_of(row, value["last_value"], called=value["is_called"])
        for row in await self._fetch(queries.LAST):
            # an index of a partitioned table is made for its partitions too
            text = row["statement"].replace(" ON ONLY ", " ON ", 1) if row["partitioned"] else row["statement"]
            statements.append(text.rstrip().removesuffix(";"))
        statements += [objects.add_constraint(row) for row in rows["constraints"] if row["kind"] == "f"]
        for row in rows["relations"]:
            if row["kind"] in "rp":
                statements += [f"ALTER TABLE {row['name']} ENABLE ROW LEVEL SECURITY"] if row["secured"] else []
                statements += [f"ALTER TABLE {row['name']} FORCE ROW LEVEL SECURITY"] if row["forced"] else []
        oids = [row["oid"] for kind in ("relations", "types", "functions", "constraints") for row in rows[kind]]
        comments = [objects.comment(row) for row in await self._fetch(queries.COMMENTS, oids)]
        return statements + [text for text in comments if text is not None] + self._refreshes()

    def _refreshes(self) -> list[str]:
        rows = [row for row in self._rows["relations"] if row["kind"] == "m" and row["populated"]]
        return [f"REFRESH MATERIALIZED VIEW {row['name']}" for row in rows]

    def _tables(self) -> list[tuple[str, tuple[str, ...]]]:
        columns: dict[int, list[str]] = {}
        for row in self._rows["columns"]:
            if not row["generated"]:
                columns.setdefault(row["attrelid"], []).append(row["plain"])
        tables: Sequence[Row] = [row for row in self._rows["relations"] if row["kind"] == "r"]
        return [(row["plain"], tuple(columns[row["oid"]])) for row in tables if columns.get(row["oid"])]
