"""What a user types for a route, a time to live or metadata, checked as far as its form goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_PART: Final = re.compile(r"([0-9]+)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITLESS: Final = re.compile(r"[+-]?\d+(\.\d*)?")


def ttl(value: str) -> str:
    """Accept a time to live that has a unit; everything else about it the control plane judges.

    Raises:
        click.BadParameter: a bare number could mean seconds as well as hours.
    """
    text = value.strip()
    if _UNITLESS.fullmatch(text):
        raise click.BadParameter(f"{value!r} has no unit: write {text}h for hours (or 90m, 7d).")
    return value


def duration(value: str) -> timedelta:
    """Read a duration like ``30d``, ``24h`` or ``1h30m``.

    Raises:
        click.BadParameter: it is none.
    """
    parts = _PART.findall(ttl(value))
    if not parts or "".join(number + unit for number, unit in parts) != value.strip():
        raise click.BadParameter(f"{value!r} is no duration: write 30d, 24h or 90m.")
    try:
        return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long.") from None


def instant(value: str) -> datetime:
    """Read an instant, in local time unless it says otherwise, or how long ago it was, like ``90m``.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return datetime.now(UTC) - duration(value)
    return found if found.tzinfo is not None else found.astimezone()


def route(value: str) -> tuple[str, str]:
    """Split ``KIND:KEY`` at the first colon.

    Raises:
        click.BadParameter: it is not written like that.
    """
    kind, colon, key = value.partition(":")
    if not (kind and colon and key):
        raise click.BadParameter(f"{value!r} is no route: write KIND:KEY, like discord.guild:123456789012345678.")
    return kind, key


def words(value: str) -> tuple[str, ...]:
    """Split a list at its commas; an empty text is an empty list.

    Raises:
        click.BadParameter: there is nothing between two of them.
    """
    found = tuple(word.strip() for word in value.split(",")) if value else ()
    if not all(found):
        raise click.BadParameter(f"{value!r} is no list: write NAME,NAME.")
    return found


def metadata(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``K=V`` pairs.

    Raises:
        click.BadParameter: one has no ``=``, or a key comes twice.
    """
    members: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE.", param_hint="'--meta'")
        if key in members:
            raise click.BadParameter(f"{key!r} is given twice.", param_hint="'--meta'")
        members[key] = value
    return members


def endpoint(value: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, or ``:PORT`` of this machine alone; port 0 is any that is free.

    Raises:
        click.BadParameter: it is none.
    """
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8080.")
    return host.strip("[]") or "127.0.0.1", int(port)
