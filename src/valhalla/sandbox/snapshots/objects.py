"""From the catalogs' rows to the statements that make the same things again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from valhalla.kit.sql import identifier, literal
from valhalla.sandbox.snapshots.ordering import Key, Node

Row = Mapping[str, Any]
TYPE, FUNCTION, SEQUENCE, TABLE, KEYS, CHECK, VIEW = range(7)
_COMMENTED: Final = {
    "table": "TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "function": "FUNCTION",
    "procedure": "PROCEDURE",
    "type": "TYPE",
    "composite type": "TYPE",
    "table column": "COLUMN",
    "view column": "COLUMN",
    "materialized view column": "COLUMN",
    "table constraint": "CONSTRAINT",
}


def relation(row: Row, columns: Sequence[Row], identities: Mapping[str, Row]) -> Node:
    """Return how a table, view or composite type is made; ``identities`` are its columns' own sequences, by column."""
    key: Key = ("pg_class", row["oid"])
    kind, name, options = row["kind"], row["name"], _options(row["options"])
    if kind == "v":
        return Node(key, VIEW, f"CREATE VIEW {name}{options} AS {_bare(row['definition'])}")
    if kind == "m":
        return Node(key, VIEW, f"CREATE MATERIALIZED VIEW {name}{options} AS {_bare(row['definition'])} WITH NO DATA")
    if kind == "c":
        members = ", ".join(f"{each['name']} {each['type']}{_collate(each)}" for each in columns)
        return Node(key, TYPE, f"CREATE TYPE {name} AS ({members})")
    what = "UNLOGGED TABLE" if row["unlogged"] else "TABLE"
    partitioned = f" PARTITION BY {row['partkey']}" if row["partkey"] else ""
    if row["parent"]:
        statement = f"CREATE {what} {name} PARTITION OF {row['parent']} {row['bound']}{partitioned}{options}"
    else:
        members = ", ".join(_column(each, identities.get(each["name"])) for each in columns)
        statement = f"CREATE {what} {name} ({members}){partitioned}{options}"
    return Node(key, TABLE, statement)


def _column(row: Row, sequence: Row | None) -> str:
    text = f"{row['name']} {row['type']}{_collate(row)}"
    if row["generated"]:
        text += f" GENERATED ALWAYS AS ({row['expression']}) {'VIRTUAL' if row['generated'] == 'v' else 'STORED'}"
    if row["identity"] and sequence is not None:
        when = "ALWAYS" if row["identity"] == "a" else "BY DEFAULT"
        text += f" GENERATED {when} AS IDENTITY (SEQUENCE NAME {sequence['name']} {_numbers(sequence)})"
    return text + (" NOT NULL" if row["required"] else "")


def type_(row: Row) -> Node:
    """Return how an enum, domain or range type is made."""
    key: Key = ("pg_type", row["oid"])
    if row["kind"] == "e":
        return Node(key, TYPE, f"CREATE TYPE {row['name']} AS ENUM ({', '.join(row['labels'] or ())})")
    if row["kind"] == "d":
        default = f" DEFAULT {row['expression']}" if row["expression"] is not None else ""
        required = " NOT NULL" if row["required"] else ""
        return Node(key, TYPE, f"CREATE DOMAIN {row['name']} AS {row['base']}{_collate(row)}{default}{required}")
    members = [f"SUBTYPE = {row['subtype']}", f"SUBTYPE_OPCLASS = {row['opclass']}"]
    members += [f"MULTIRANGE_TYPE_NAME = {row['multiname']}"] if row["multiname"] else []
    members += [f"SUBTYPE_DIFF = {row['difference']}"] if row["difference"] else []
    members += [f"COLLATION = {row['collation']}"] if row["collation"] else []
    return Node(key, TYPE, f"CREATE TYPE {row['name']} AS RANGE ({', '.join(members)})")


def function(row: Row) -> Node:
    """Return how a function or procedure is made."""
    return Node(("pg_proc", row["oid"]), FUNCTION, _bare(row["definition"]))


def sequence(row: Row) -> Node:
    """Return how a sequence is made that no column makes."""
    statement = f"CREATE SEQUENCE {row['name']} AS {row['type']} {_numbers(row)}"
    return Node(("pg_class", row["oid"]), SEQUENCE, statement)


def constraint(row: Row) -> Node:
    """Return how a constraint is added; of a domain or a table, but no foreign key."""
    # a domain that is used inside another type takes no constraint any more, so it gets its own at once
    rank = SEQUENCE if row["type_oid"] else CHECK if row["kind"] == "c" else KEYS
    return Node(("pg_constraint", row["oid"]), rank, add_constraint(row))


def add_constraint(row: Row) -> str:
    """Return the statement that adds a constraint."""
    owner = f"DOMAIN {row['type_name']}" if row["type_oid"] else f"TABLE {row['table_name']}"
    return f"ALTER {owner} ADD CONSTRAINT {row['name']} {row['definition']}"


def defaults(relations: Iterable[Row], columns: Iterable[Row]) -> list[str]:
    """Return the statements that set columns' defaults, which may need anything else."""
    tables = {row["oid"]: row["name"] for row in relations if row["kind"] in "rp"}
    return [
        f"ALTER TABLE ONLY {tables[row['attrelid']]} ALTER COLUMN {row['name']} SET DEFAULT {row['expression']}"
        for row in columns
        if row["attrelid"] in tables and row["expression"] is not None and not row["generated"]
    ]


def numbers_of(row: Row, last: int, *, called: bool) -> list[str]:
    """Return what brings a sequence to where it was, and to whom it belongs."""
    value = f"SELECT pg_catalog.setval({literal(row['name'])}, {int(last)}, {'true' if called else 'false'})"
    if row["table_name"] is None or row["identity"]:
        return [value]
    return [value, f"ALTER SEQUENCE {row['name']} OWNED BY {row['table_name']}.{row['column_name']}"]


def comment(row: Row) -> str | None:
    """Return the statement that makes a comment; None for what is not carried."""
    what = _COMMENTED.get(row["type"])
    return None if what is None else f"COMMENT ON {what} {row['identity']} IS {row['text']}"


def _numbers(row: Row) -> str:
    cycle = "CYCLE" if row["seqcycle"] else "NO CYCLE"
    return (
        f"START WITH {row['seqstart']} INCREMENT BY {row['seqincrement']} MINVALUE {row['seqmin']}"
        f" MAXVALUE {row['seqmax']} CACHE {row['seqcache']} {cycle}"
    )


def _collate(row: Row) -> str:
    return f" COLLATE {row['collation']}" if row["collation"] else ""


def _options(options: Sequence[str] | None) -> str:
    pairs = (option.partition("=") for option in options or ())
    text = ", ".join(f"{identifier(name)} = {literal(value)}" for name, _, value in pairs)
    return f" WITH ({text})" if text else ""


def _bare(statement: str) -> str:
    return statement.rstrip().removesuffix(";")
