"""Pages of lists: opaque cursors and bounded sizes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, cast

from valhalla.kernel.problems import Invalid
from valhalla.kit.json import dumps, loads

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
_MAX_CURSOR: Final = 2048


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; ``next`` is the cursor of the following page, ``None`` at the end."""

    items: Sequence[T]
    next: str | None


def clamp(limit: int | None) -> int:
    """Return a page size between 1 and ``MAX_LIMIT``."""
    return DEFAULT_LIMIT if limit is None else max(1, min(limit, MAX_LIMIT))


def encode(position: Mapping[str, Any]) -> str:
    """Return the cursor that stands for ``position`` (a JSON object)."""
    return base64.urlsafe_b64encode(dumps(dict(position))).decode().rstrip("=")


def decode(cursor: str | None) -> Mapping[str, Any] | None:
    """Return the position a cursor stands for, ``None`` for the first page.

    Raises:
        Invalid: it was not made by ``encode``.
    """
    if cursor is None or cursor == "":
        return None
    if len(cursor) > _MAX_CURSOR:
        raise _invalid()
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position: object = loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    if not isinstance(position, dict):
        raise _invalid()
    return cast("dict[str, Any]", position)


async def newest(
    read: Callable[[tuple[datetime, str] | None, int], Awaitable[Sequence[T]]],
    place: Callable[[T], tuple[datetime, str]],
    *,
    limit: int | None,
    cursor: str | None,
) -> Page[T]:
    """Return a page of a list that lies in order of an instant and an id, the newest first.

    ``read`` gets the place behind which the page begins, ``None`` for the first, and how many rows to return at most;
    ``place`` says where a row lies.

    Raises:
        Invalid: the cursor was not made here.
    """
    size = clamp(limit)
    position = decode(cursor)
    rows = await read(None if position is None else (instant(position, "at"), text(position, "id")), size + 1)
    if len(rows) <= size:
        return Page(rows, None)
    at, id_ = place(rows[size - 1])
    # all of its digits: in milliseconds, rows of the same one would be skipped
    return Page(rows[:size], encode({"at": at.isoformat(), "id": id_}))


def text(position: Mapping[str, Any], name: str) -> str:
    """Return a text member of a decoded cursor.

    Raises:
        Invalid: it is missing or of another type.
    """
    value = position.get(name)
    if not isinstance(value, str) or "\x00" in value:
        raise _invalid()
    return value


def integer(position: Mapping[str, Any], name: str) -> int:
    """Return a 64-bit integer member of a decoded cursor.

    Raises:
        Invalid: it is missing or of another type.
    """
    value = position.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise _invalid()
    return value


def instant(position: Mapping[str, Any], name: str) -> datetime:
    """Return an aware instant of a decoded cursor, stored in ISO form.

    Raises:
        Invalid: it is missing, of another type or without an offset.
    """
    try:
        value = datetime.fromisoformat(text(position, name))
        if value.tzinfo is None:
            raise _invalid()
        # an instant near the ends of the calendar may have no form in UTC
        return value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid() from error


def _invalid() -> Invalid:
    return Invalid(
        "the cursor is not one this server gave out",
        help="Send the 'next' of the previous page unchanged, or leave 'cursor' out to begin again.",
        parameter="cursor",
    )
