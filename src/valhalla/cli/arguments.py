"""What a user types for a route, a time to live or metadata, checked as far as its form goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

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


def route(value: str) -> tuple[str, str]:
    """Split ``KIND:KEY`` at the first colon.

    Raises:
        click.BadParameter: it is not written like that.
    """
    kind, colon, key = value.partition(":")
    if not (kind and colon and key):
        raise click.BadParameter(
            f"{value!r} is no route: write KIND:KEY, like discord.guild:123456789012345678."
        )
    return kind, key


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
