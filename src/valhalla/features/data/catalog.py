"""Which of our tables may be exported and aged out, and how: their names stand here, their columns are the tables' own.

A table that this release does not have, because its feature is not there, is no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from valhalla.kernel.scopes import ADMIN
from valhalla.kit.db import SCHEMA, metadata
from valhalla.kit.relations import Column, Hide, Kind, Relation

_TYPES: Final[tuple[tuple[type[Any], Kind], ...]] = (
    (JSONB, "json"),
    (sa.ARRAY, "texts"),
    (sa.Boolean, "boolean"),
    (sa.Integer, "integer"),
    (sa.Float, "number"),
    (sa.DateTime, "instant"),
    (sa.LargeBinary, "bytes"),
    (sa.Text, "text"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One of our tables. ``scope`` is what a key needs to read it anywhere else, and so here."""

    table: str
    scope: str
    key: tuple[str, ...]
    clock: str
    hide: Mapping[str, Hide] = field(default_factory=dict[str, "Hide"])
    without: frozenset[str] = frozenset()
    where: str | None = None
    partitioned: bool = False

    def relation(self) -> Relation | None:
        """Return what may be named of it, None while there is no such table."""
        table = metadata.tables.get(f"{SCHEMA}.{self.table}")
        if table is None:
            return None
        columns = tuple(
            Column(str(column.name), kind, self.hide.get(column.name))
            for column in table.columns
            if column.name not in self.without and (kind := kind_of(column.type)) is not None
        )
        return Relation(SCHEMA, self.table, columns, self.key, self.clock, self.where)


def kind_of(of: sa.types.TypeEngine[Any]) -> Kind | None:
    """Return what a column of this type holds, None for what is of use to the database alone."""
    return next((kind for type_, kind in _TYPES if isinstance(of, type_)), None)


_WHO: Final[Mapping[str, Hide]] = MappingProxyType({"principal": "personal", "owner": "personal"})

SOURCES: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "logs": Entry("system_logs", "logs:read", ("at", "id"), "at", _WHO, partitioned=True),
        "audit": Entry(
            "ledger_entries", "audit:read", ("id",), "at", {"actor": "personal"}, frozenset({"nonce", "mac"})
        ),
        "spans": Entry("trace_spans", "traces:read", ("at", "span_id"), "at", _WHO, partitioned=True),
        "errors": Entry("error_events", "errors:read", ("id",), "last_at", {"last_principal": "personal"}),
        "alerts": Entry("alerts", "alerts:read", ("id",), "last_at", {"acknowledged_by": "personal"}),
        "jobs": Entry(
            "jobs",
            "jobs:read",
            ("id",),
            "created_at",
            # a job's arguments are what its program wants them to be
            {"args": "deep", "result": "deep", "error": "deep", "progress": "deep", "dedup_key": "secret"},
        ),
        "events": Entry("events", ADMIN, ("id",), "at"),
        "metrics": Entry("metrics_snapshots", "metrics:read", ("at", "source"), "at"),
        "sandboxes": Entry(
            "sandboxes",
            ADMIN,
            ("id",),
            "created_at",
            {"owner": "personal", "created_by": "personal", "metadata": "deep"},
            frozenset({"fingerprint", "idempotency_key", "slot_ready_at", "reserved_by", "lease_until"}),
        ),
        "deployments": Entry("deployments", "deployments:read", ("id",), "created_at", {"actor": "personal"}),
        "smoke-runs": Entry("smoke_runs", "deployments:read", ("id",), "created_at", {"declared": "deep"}),
        "honeypots": Entry(
            "honeypot_events",
            "honeypots:read",
            ("at", "uid"),
            "at",
            {"address": "personal", "payload": "deep"},
            partitioned=True,
        ),
        "notifications": Entry(
            "notification_deliveries",
            "notifications:read",
            ("id",),
            "created_at",
            {"actor": "personal", "items": "deep"},
        ),
        "exports": Entry(
            "export_jobs",
            ADMIN,
            ("id",),
            "created_at",
            {"actor": "personal", "owner": "personal", "conditions": "deep"},
            frozenset({"query", "place"}),
        ),
        "purges": Entry("retention_runs", "retention:read", ("id",), "created_at", {"actor": "personal"}),
    }
)
