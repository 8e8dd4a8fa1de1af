"""Pure: what differs between two lists of routes, which of them are asked for, which limits may count one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request, is_free, matches
from valhalla.features.operations.routes.contracts import Difference, Route, Times

_TELLING: Final = ("scope", "public", "deprecated", "kind", "tags", "name", "summary", "flags")


def difference(before: Iterable[Route], after: Iterable[Route]) -> Difference:
    """Return what became of the routes of ``before``."""
    old = {route.id: route for route in before}
    new = {route.id: route for route in after}
    changed = {
        id_: members
        for id_ in sorted(old.keys() & new.keys())
        if (members := tuple(m for m in _TELLING if getattr(old[id_], m) != getattr(new[id_], m)))
    }
    return Difference(tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), changed)


def chosen(
    routes: Sequence[Route],
    *,
    text: str | None = None,
    method: str | None = None,
    tag: str | None = None,
    scope: str | None = None,
    public: bool | None = None,
    flag: str | None = None,
) -> list[Route]:
    """Return the routes that fit everything that is asked for, by path and method."""
    wanted = None if text is None else text.casefold()
    found = [
        route
        for route in routes
        if (wanted is None or any(wanted in word.casefold() for word in (route.path, route.name, route.summary)))
        and (method is None or method.upper() in route.methods)
        and (tag is None or tag in route.tags)
        and (scope is None or scope == route.scope)
        and (public is None or public == route.public)
        and (flag is None or flag in route.flags)
    ]
    return sorted(found, key=lambda route: (route.path, route.id))


def limits_of(route: Route, rules: Iterable[LimitRule]) -> tuple[str, ...]:
    """Return the names of the enabled rules that count requests of a route, whoever sends them."""
    if is_free(route.path):
        return ()
    asked = [Request(method, route.path, route.path, None, None, None) for method in route.methods]
    return tuple(
        rule.name
        for rule in rules
        if rule.enabled and (not rule.routes or any(matches(one, request) for one in rule.routes for request in asked))
    )


class Measured(msgspec.Struct, frozen=True):
    """What one route did in this process; seconds."""

    requests: int = 0
    errors: int = 0
    p50: float | None = None
    p99: float | None = None

    @property
    def error_rate(self) -> float | None:
        """The share of answers with a status of 500 or more; ``None`` before the first."""
        return self.errors / self.requests if self.requests else None


def measured(route: Route, times: Iterable[Times]) -> Measured:
    """Add up what the methods of one route did; quantiles are those of the method that was asked most."""
    methods = {*route.methods, "HEAD"} if "GET" in route.methods else set(route.methods)
    mine = [one for one in times if one.method in methods]
    if not mine:
        return Measured()
    most = max(mine, key=lambda one: one.requests)
    return Measured(sum(one.requests for one in mine), sum(one.errors for one in mine), most.p50, most.p99)
