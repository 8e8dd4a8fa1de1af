"""What a sandbox may do in a guild, as the routes are now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from valhalla.sandbox.routing.subjects import DISCORD
from valhalla.sandbox.routing.table import RouteTable

Right = Literal["all", "look", "none"]
"""``all``: the guild is the sandbox's. ``look``: it gets copies of its events, so it may read. ``none``: neither."""


def right(table: RouteTable, sandbox: str, guild: str) -> Right:
    """Return what a sandbox may do in a guild. While a claim moves nobody may."""
    way = table.way(DISCORD, guild)
    if way.held:
        return "none"
    if way.sandbox == sandbox:
        return "all"
    return "look" if way.mirror == sandbox else "none"


def guilds(table: RouteTable, sandbox: str) -> list[str]:
    """Return the guilds that are the sandbox's, in the order of their ids."""
    return [key for key in visible(table, sandbox) if right(table, sandbox, key) == "all"]


def unclaimed(table: RouteTable, known: Iterable[str]) -> list[str]:
    """Return those of the guilds whose events are production's, in the order of their ids."""
    return sorted((key for key in known if table.way(DISCORD, key).sandbox is None), key=int)


def visible(table: RouteTable, sandbox: str) -> list[str]:
    """Return the guilds whose events a sandbox gets, its own and those it has copies of, in the order of their ids."""
    found = [key for source, key, record, _ in table.claimed() if source == DISCORD and record.sandbox == sandbox]
    return sorted((key for key in found if right(table, sandbox, key) != "none"), key=int)
