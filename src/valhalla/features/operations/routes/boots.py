"""What was served at the last boot, kept in a registry: its history is the history of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.routes import rules
from valhalla.features.operations.routes.contracts import Difference, Route, RouteList
from valhalla.kernel.principal import SYSTEM
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit
from valhalla.kit.paging import Page
from valhalla.kit.registry import Change, Registry

REGISTRY: Final = "route_lists"
_KEY: Final = "served"
# more names than these say no more to who reads an event
_TOLD: Final = 50


def route_registry(ledger: Ledger) -> Registry[RouteList]:
    """Return the registry with its one record; nobody but a boot writes it."""
    return Registry(REGISTRY, RouteList, ledger)


def note_boot(conn: Connection, registry: Registry[RouteList], release: str, routes: Sequence[Route]) -> Difference:
    """Compare with the last boot; a difference becomes the new list and an event. Processes take turns."""
    registry.lock(conn)
    record = registry.find(conn, _KEY)
    served = RouteList(release, tuple(sorted(routes, key=lambda route: route.id)))
    before = () if record is None else record.value.routes
    found = rules.difference(before, served.routes)
    if record is not None and not found:
        return found
    registry.put(conn, _KEY, served, actor=SYSTEM.id, reason=f"boot of {release}")
    if record is not None:
        data = {
            "release": release,
            "before": record.value.release,
            "added": found.added[:_TOLD],
            "removed": found.removed[:_TOLD],
            "changed": {id_: found.changed[id_] for id_ in list(found.changed)[:_TOLD]},
        }
        emit(conn, subject="routes", type="routes.changed", data=msgspec.to_builtins(data))
    return found


def boots(conn: Connection, registry: Registry[RouteList], limit: int, cursor: str | None) -> Page[Change]:
    """Return the boots that changed something, newest first.

    Raises:
        Invalid: the cursor was not made here.
    """
    return registry.history(conn, _KEY, limit=limit, cursor=cursor)


def read_change(registry: Registry[RouteList], change: Change) -> tuple[RouteList, str | None, Difference]:
    """Return what was served from a change on, the release before it, and what it did."""
    after = registry.decode(_KEY, _body(change.after))
    before = None if change.before is None else registry.decode(_KEY, change.before)
    difference = rules.difference(() if before is None else before.routes, after.routes)
    return after, None if before is None else before.release, difference


def _body(body: Any) -> Any:
    return {"release": "", "routes": []} if body is None else body
