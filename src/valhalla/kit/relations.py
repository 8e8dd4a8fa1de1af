"""What may be named of a table from outside (columns, key, clock), and conditions on it as SQL text. Pure.

COPY and DDL take no parameters, so conditions become text here, and only here: names are those that were declared,
values are quoted constants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, cast

import msgspec

from valhalla.kernel.problems import Invalid
from valhalla.kit.sql import identifier, literal

Kind = Literal["text", "integer", "number", "boolean", "instant", "json", "bytes", "texts"]
Hide = Literal["secret", "personal", "deep"]
"""``secret``: never shown by default; ``personal``: who it was; ``deep``: JSON that may hold either."""
Op = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "prefix", "null"]
Scalar = str | int | float | bool

ALIAS: Final = "t"
TYPES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "text": "text",
        "integer": "bigint",
        "number": "double precision",
        "boolean": "boolean",
        "instant": "timestamptz",
        "json": "jsonb",
        "bytes": "bytea",
        "texts": "text[]",
    }
)
_COMPARE: Final = {"eq": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_MOST: Final = 1000
_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True)
class Column:
    """One column that may be shown and compared."""

    name: str
    kind: Kind
    hide: Hide | None = None
    cast: str | None = None
    """The type that stands for its own, which is of no kind: ``text`` for a date."""

    @property
    def sql(self) -> str:
        """The column's quoted name, of the alias."""
        name = f"{ALIAS}.{identifier(self.name)}"
        return name if self.cast is None else f"{name}::{self.cast}"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view. ``key`` names columns that order its rows, ``clock`` the one that says how old a row is.

    ``where`` is a condition of ours over the alias ``t`` that all rows fulfil which are meant.
    """

    schema: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    clock: str | None = None
    where: str | None = None

    @property
    def sql(self) -> str:
        """The quoted name with the alias."""
        return f"{identifier(self.schema)}.{identifier(self.table)} AS {ALIAS}"

    def column(self, name: str) -> Column:
        """Return a column.

        Raises:
            Invalid: it has none of this name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise Invalid(f"there is no column {name[:64]!a}", help=f"It has {known}.", column=ascii(name[:64]))


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison of one column, or of a member inside a JSON column (``context.customer``), with a constant.

    ``in`` takes a list; ``null`` takes yes or no; ``prefix`` is of texts. A row without a value fulfils only ``null``
    and ``ne``.
    """

    column: str
    op: Op
    value: Scalar | list[Scalar]


def conditions_sql(relation: Relation, conditions: Sequence[Condition]) -> list[str]:
    """Return each condition as SQL over the alias.

    Raises:
        Invalid: a column is unknown, or a value does not fit it.
    """
    return [condition_sql(relation, condition) for condition in conditions]


def condition_sql(relation: Relation, condition: Condition) -> str:
    """Return a condition as SQL over the alias; NULL where a row has no value.

    Raises:
        Invalid: the column is unknown, or the value does not fit it.
    """
    name, dot, path = condition.column.partition(".")
    column = relation.column(name)
    left, kind = column.sql, column.kind
    if dot:
        if kind != "json" or not path:
            raise _refused(condition, "only members of JSON columns have paths")
        left, kind = f"({left} #>> {_path(path)})", "text"
    if condition.op == "null":
        if condition.value not in (True, False, "true", "false"):
            raise _refused(condition, "'null' takes true or false")
        return f"{left} IS {'' if condition.value in (True, 'true') else 'NOT '}NULL"
    if kind in ("json", "bytes", "texts"):
        raise _refused(condition, f"a column of {kind} is compared with 'null' only, or by a path into it")
    if condition.op == "in":
        return _among(condition, left, kind)
    if isinstance(condition.value, list):
        raise _refused(condition, "only 'in' takes a list")
    right = constant(kind, condition.value, condition.column)
    if condition.op == "prefix":
        if kind != "text":
            raise _refused(condition, "'prefix' is of texts")
        return f"starts_with({left}, {right})"
    if condition.op == "ne":
        return f"{left} IS DISTINCT FROM {right}"
    return f"{left} {_COMPARE[condition.op]} {right}"


def constant(kind: Kind, value: object, name: str = "value") -> str:
    """Return a constant as SQL of the type of ``kind``.

    Raises:
        Invalid: it is none of that kind.
    """
    make = _CONSTANTS.get(kind)
    text = None if make is None else make(value)
    if text is None:
        raise Invalid(f"{name[:64]!a} is compared with {kind}", column=ascii(name[:64]))
    return f"{text}::{TYPES[kind]}"


def instant_sql(value: datetime) -> str:
    """Return an aware instant as SQL."""
    return f"{literal(value.astimezone(UTC).isoformat())}::timestamptz"


def _among(condition: Condition, left: str, kind: Kind) -> str:
    if not isinstance(condition.value, list) or not 0 < len(condition.value) <= _MOST:
        raise _refused(condition, f"'in' takes a list of 1 to {_MOST} values")
    right = ", ".join(constant(kind, one, condition.column) for one in condition.value)
    return f"{left} IN ({right})"


def _path(path: str) -> str:
    parts = path.split(".")
    if not all(parts) or len(parts) > 8 or "\x00" in path:
        raise Invalid("a path is names with dots", column=ascii(path[:64]))
    return f"ARRAY[{', '.join(literal(part) for part in parts)}]::text[]"


def _text(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST or "\x00" in value:
        return None
    return None if any("\ud800" <= char <= "\udfff" for char in value) else literal(value)


def _integer(value: object) -> str | None:
    # a shell has only texts
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        return None
    return f"'{value}'"


def _number(value: object) -> str | None:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e308 or not math.isfinite(value):
        return None
    return f"'{float(value)!r}'"


def _boolean(value: object) -> str | None:
    if value in ("true", "false"):
        return literal(str(value))
    return f"'{'true' if value else 'false'}'" if isinstance(value, bool) else None


def _instant(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        read = datetime.fromisoformat(value)
        return None if read.tzinfo is None else literal(read.astimezone(UTC).isoformat())
    except (ValueError, OverflowError):
        return None


_CONSTANTS: Final = cast(
    "Mapping[Kind, Callable[[Any], str | None]]",
    {"text": _text, "integer": _integer, "number": _number, "boolean": _boolean, "instant": _instant},
)


def _refused(condition: Condition, why: str) -> Invalid:
    name = ascii(condition.column[:64])
    return Invalid(f"{name}: {why}", column=name)
