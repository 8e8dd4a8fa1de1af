"""What the rules say when they refuse a sandbox, in one place: a creation meets them in the pool or in line."""

from __future__ import annotations

from valhalla.sandbox.errors import NameTaken, OwnerLimit, RouteTaken


def owner_limit(owner: str, live: int, limit: int) -> OwnerLimit:
    """Say that the owner has as many live sandboxes as allowed."""
    return OwnerLimit(f"'{owner}' has {live} of {limit} live sandboxes", owner=owner, live=live, limit=limit)


def name_taken(name: str) -> NameTaken:
    """Say that a live sandbox has the name."""
    return NameTaken(f"a live sandbox is called '{name}'", name=name)


def route_taken(route: str) -> RouteTaken:
    """Say that another sandbox holds the route, written ``kind:key``."""
    return RouteTaken(f"the route {route} belongs to another sandbox", route=route)
