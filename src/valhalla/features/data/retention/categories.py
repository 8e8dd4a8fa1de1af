"""Every kind of data that can be aged out, bound to its table and clock by code: no name stands for anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from valhalla.features.data import catalog
from valhalla.features.data.retention.contracts import Category
from valhalla.features.data.retention.errors import UnknownCategory
from valhalla.kit.settings import Settings

_UNPRUNABLE: Final = (
    "the ledger is a chain: its verification begins with the first entry, and a chain whose beginning is gone proves"
    " nothing about it"
)


@dataclass(frozen=True, slots=True)
class _Bound:
    source: str
    key: tuple[str, ...] = ("id",)
    clock: str | None = None
    where: str | None = None
    days: int | None = None
    refused: str | None = None
    children: tuple[tuple[str, str], ...] = ()


_ALL: Final[Mapping[str, _Bound]] = MappingProxyType(
    {
        "logs": _Bound("logs", ("at", "id")),
        "spans": _Bound("spans", ("at", "trace_id", "span_id")),
        "errors": _Bound("errors", clock="last_at", days=90),
        "alerts": _Bound("alerts", clock="resolved_at", where="t.status = 'resolved'", days=30),
        "metrics": _Bound("metrics", ("source", "at"), days=7),
        "events": _Bound("events", clock="sent_at", where="t.sent_at IS NOT NULL", days=7),
        # dead ones stay: somebody may replay them
        "jobs": _Bound("jobs", clock="finished_at", where="t.finished_at IS NOT NULL AND t.status <> 'dead'", days=7),
        "smoke-runs": _Bound("smoke-runs", where="t.finished_at IS NOT NULL", days=90),
        "deployments": _Bound(
            "deployments",
            where="t.finished_at IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM valhalla.deployments AS later WHERE later.rollback_of = t.id)",
        ),
        # of a database that is still there the reaper counts every sandbox that it ever had
        "sandboxes": _Bound(
            "sandboxes",
            clock="destroyed_at",
            where="t.status = 'destroyed' AND t.destroyed_at IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM valhalla.sandbox_routes AS r WHERE r.sandbox_id = t.id) AND NOT EXISTS"
            " (SELECT FROM valhalla.arenas AS a WHERE a.name = t.pg_database AND a.dropped_at IS NULL)",
            days=90,
        ),
        "exports": _Bound(
            "exports",
            clock="finished_at",
            where="t.finished_at IS NOT NULL AND (t.removed_at IS NOT NULL OR t.status <> 'completed')",
            days=90,
        ),
        "purges": _Bound("purges", clock="finished_at", where="t.finished_at IS NOT NULL"),
        "notifications": _Bound(
            "notifications",
            clock="finished_at",
            where="t.finished_at IS NOT NULL",
            children=(("notification_attempts", "delivery"),),
        ),
        "honeypots": _Bound("honeypots", ("at", "uid"), days=30),
        "audit": _Bound("audit", refused=_UNPRUNABLE),
    }
)


class Categories:
    """The categories of this installation; a table that is not there has none."""

    def __init__(self, settings: Settings) -> None:
        self._kept = {"logs": settings.logs_kept, "spans": settings.traces_kept}

    def all(self) -> dict[str, Category]:
        """Return every category, by name."""
        found = {name: self._made(name, bound) for name, bound in _ALL.items()}
        return {name: one for name, one in found.items() if one is not None}

    def get(self, name: str) -> Category:
        """Return a category.

        Raises:
            UnknownCategory: no table is bound to this name.
        """
        bound = _ALL.get(name)
        category = None if bound is None else self._made(name, bound)
        if category is None:
            known = sorted(self.all())
            raise UnknownCategory(
                f"no data is called {name[:64]!a}: there are {', '.join(known)}",
                errors=[{"pointer": "/category", "detail": "unknown"}],
            )
        return category

    def _made(self, name: str, bound: _Bound) -> Category | None:
        entry = catalog.SOURCES[bound.source]
        relation = entry.relation()
        if relation is None:
            return None
        clock = bound.clock or entry.clock
        names = {column.name for column in relation.columns}
        if not {clock, *bound.key} <= names:
            return None
        keep = self._kept.get(name) or (None if bound.days is None else timedelta(days=bound.days))
        return Category(
            name=name,
            relation=replace(relation, where=bound.where),
            key=bound.key,
            clock=clock,
            source=bound.source,
            partitioned=entry.partitioned,
            keep=keep,
            refused=bound.refused,
            children=bound.children,
        )
