"""What is asked of the database for an export, as text: columns masked as the profile says, rows as the filter says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from valhalla.features.data.exports.contracts import Compression, Draft, Format, Profile, Source
from valhalla.features.data.exports.errors import BadExport
from valhalla.kit.copying.spec import Query
from valhalla.kit.redact import is_secret_name, secret_names
from valhalla.kit.relations import TYPES, Column, Kind, Relation, conditions_sql, instant_sql
from valhalla.kit.sql import identifier, literal

MASK: Final = "***"
VIEW: Final = re.compile(
    r"(?P<schema>[a-z_][a-z0-9_]{0,62})\.(?P<view>[a-z_][a-z0-9_]{0,62})(?:\((?P<key>[a-z0-9_, ]{1,200})\))?"
)
"""``schema.view``, and in brackets the columns that order it: with them an interrupted export goes on."""

# what registries call what nobody shall see
_ALSO: Final = ("digest", "cipher", "sealed")
_ROWS: Final = 100_000
# a row group is in memory as a whole while the next one comes
_GROUP: Final = 5 * 2**20
_FILE_ROWS: Final = 1_000_000


def _pattern() -> str:
    return "|".join(re.escape(name).replace("\\-", "-") for name in (*secret_names(), *_ALSO))


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is asked, and what the files hold."""

    query: Query
    names: tuple[str, ...]
    types: tuple[Kind, ...]


def form(draft: Draft, source: Source) -> tuple[Format, Compression]:
    """Return format and compression of what is to be made.

    Raises:
        BadExport: the source has no such form.
    """
    dumped = source.relation is None
    chosen = draft.format or ("sql" if dumped else "csv")
    if dumped != (chosen == "sql"):
        raise _bad("format", "a sandbox is dumped as sql, and nothing else is")
    if dumped and (draft.columns or draft.conditions or draft.since or draft.until):
        raise _bad("conditions", "a dump is of everything")
    compression = draft.compression or ("zstd" if chosen == "parquet" else "none")
    if dumped and compression != "none":
        raise _bad("compression", "a dump is not compressed")
    return chosen, compression


def compile_query(
    relation: Relation, draft: Draft, chosen: Format, until: datetime | None, salt: str | None
) -> Compiled:
    """Return what is asked; ``until`` bounds the clock, ``salt`` makes this export's pseudonyms.

    Raises:
        BadExport, Invalid: a column is unknown, or a condition does not fit its column.
    """
    wanted = draft.columns or tuple(column.name for column in relation.columns)
    if len(set(wanted)) != len(wanted):
        raise _bad("columns", "one is named twice")
    columns = [relation.column(name) for name in wanted]
    shown = [_shown(column, draft.profile, chosen, salt) for column in columns]
    named = ", ".join(f"{text} AS {identifier(column.name)}" for (text, _), column in zip(shown, columns, strict=True))
    if chosen == "jsonl":
        named = f"(SELECT row_to_json(r) FROM (SELECT {named}) AS r)"
    conditions = [] if relation.where is None else [f"({relation.where})"]
    conditions += conditions_sql(relation, draft.conditions)
    conditions += _span(relation, draft.since, until)
    key = [relation.column(name) for name in relation.key]
    query = Query(
        columns=named,
        source=f"FROM {relation.sql} WHERE {' AND '.join(conditions) or 'true'}",
        key=tuple(column.sql for column in key),
        casts=tuple(TYPES[column.kind] for column in key),
    )
    return Compiled(query, tuple(wanted), tuple(kind for _, kind in shown))


def _span(relation: Relation, since: datetime | None, until: datetime | None) -> list[str]:
    if relation.clock is None:
        if since is not None:
            raise _bad("since", "the source has no clock")
        return []
    clock = relation.column(relation.clock).sql
    found: list[str] = []
    if since is not None:
        found.append(f"{clock} >= {instant_sql(since)}")
    if until is not None:
        found.append(f"{clock} < {instant_sql(until)}")
    return found


def _shown(column: Column, profile: Profile, chosen: Format, salt: str | None) -> tuple[str, Kind]:  # noqa: PLR0911
    """Return a column as SQL, and the kind that it then has."""
    text = column.sql
    hide = None if profile == "none" else column.hide
    if hide == "secret":
        return f"CASE WHEN {text} IS NULL THEN NULL ELSE {literal(MASK)} END", "text"
    if hide == "personal" and profile == "strict":
        salted = f"{literal(salt or '')} || {text}::text"
        return f"left(encode(sha256(convert_to({salted}, 'UTF8')), 'hex'), 16)", "text"
    if hide == "deep" and column.kind == "json":
        return f"valhalla.masked({text}, {literal(_pattern())})", "json"
    if hide == "deep" and column.kind == "text":
        return f"valhalla.masked_text({text})", "text"
    if column.kind == "bytes":
        return f"encode({text}, 'hex')", "text"
    if column.kind == "texts" and chosen != "jsonl":
        return f"to_jsonb({text})", "json"
    return text, column.kind


def sizes(chosen: Format, width: int) -> dict[str, int]:
    """Return the rows of a piece, a file and a group, for rows of about ``width`` bytes."""
    if chosen != "parquet":
        return {"chunk_rows": _ROWS, "part_rows": 0}
    # an unfinished file is written again anyway: a piece is a file
    group = max(1000, min(131_072, _GROUP // max(1, width)))
    return {"chunk_rows": _FILE_ROWS, "part_rows": _FILE_ROWS, "group_rows": group}


def stem(source: str, id_: str) -> str:
    """Return the name of the files without their ending."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', source)}-{id_}"


def views(settings: Sequence[str]) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Return the views that may be exported by ``schema.view``: schema, view, key.

    Raises:
        ValueError: one is not written as ``schema.view`` or ``schema.view(column)``.
    """
    found: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for text in settings:
        match = VIEW.fullmatch(text)
        if match is None:
            raise ValueError("it must look like reporting.daily or reporting.daily(id)")
        schema, view, key = match["schema"], match["view"], match["key"]
        if schema in ("valhalla", "valhalla_guard", "information_schema") or schema.startswith("pg_"):
            raise ValueError("it must be a view of yours: what the control plane keeps has sources of its own")
        columns = tuple(part.strip() for part in key.split(",")) if key else ()
        found[f"{schema}.{view}"] = (schema, view, columns)
    return found


_BY_TYPE: Final[dict[str, tuple[Kind, str | None]]] = {
    "bool": ("boolean", None),
    "int2": ("integer", None),
    "int4": ("integer", None),
    "int8": ("integer", None),
    "float4": ("number", None),
    "float8": ("number", None),
    "timestamptz": ("instant", None),
    "jsonb": ("json", None),
    "json": ("json", "jsonb"),
    "bytea": ("bytes", None),
    "text": ("text", None),
    "_text": ("texts", None),
}


def view_column(name: str, type_: str) -> Column:
    """Return a column of somebody's view: nobody knows what is in it, so secrets are looked for everywhere."""
    kind, cast = _BY_TYPE.get(type_, ("text", "text"))
    if is_secret_name(name):
        return Column(name, kind, "secret", cast)
    return Column(name, kind, "deep" if kind in ("json", "text") else None, cast)


def manifest(export: Any, files: Sequence[Any], names: Sequence[str], types: Sequence[str]) -> dict[str, Any]:
    """Return what says of the files what they are; it is written last, so where it is everything is."""
    return {
        "format": 1,
        "export": export.id,
        "source": export.source,
        "file_format": export.format,
        "compression": export.compression,
        "profile": export.profile,
        "conditions": [dict(one) for one in export.conditions],
        "since": None if export.since is None else export.since.isoformat(),
        "until": None if export.until is None else export.until.isoformat(),
        "schema": [{"name": name, "type": kind} for name, kind in zip(names, types, strict=True)],
        "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files),
        "files": [{"name": file.name, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256} for file in files],
        "actor": export.actor,
        "created_at": export.created_at.isoformat(),
    }


def _bad(member: str, why: str) -> BadExport:
    return BadExport(f"/{member}: {why}", errors=[{"pointer": f"/{member}", "detail": why}])
