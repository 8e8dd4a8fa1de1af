"""The admin actions on workers: take one out of service without losing a job, and let it work again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.admin.contracts import AdminAction, Order, Run
from valhalla.kit.db import Database
from valhalla.work import draining, heartbeats

_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "worker": {
            "type": "string",
            "pattern": r"^worker\.[a-z0-9_.-]{1,130}$",
            "description": "the name of its heartbeat, as 'valhalla heartbeat ls' has it",
        }
    },
    "required": ["worker"],
    "additionalProperties": False,
}


def workers(db: Database) -> list[AdminAction]:
    """Return what is done about workers."""

    def doing(work: Callable[[Connection, Order, str], Mapping[str, Any]]) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            def known(conn: Connection) -> Mapping[str, Any]:
                name: str = order.arguments["worker"]
                if draining.find(conn, name) is None:
                    # one that nobody has heard of
                    heartbeats.read(conn, name)
                return work(conn, order, name)

            return await db.run(known)

        return run

    scope = "jobs:write"
    return [
        AdminAction(
            "worker.drain",
            "Let a worker end what it runs and take no more jobs, also after a restart, until it is resumed.",
            _SCHEMA,
            "reversible",
            scope,
            doing(_drain),
            doing(_look),
            while_closed=True,
        ),
        AdminAction(
            "worker.resume",
            "Let a drained worker take jobs again.",
            _SCHEMA,
            "reversible",
            scope,
            doing(_resume),
            doing(_look),
            while_closed=True,
        ),
    ]


def _drain(conn: Connection, order: Order, name: str) -> Mapping[str, Any]:
    return _told(draining.order(conn, name, by=order.principal.id, reason=order.reason))


def _resume(conn: Connection, order: Order, name: str) -> Mapping[str, Any]:
    del order
    return {"worker": name, "was_drained": draining.lift(conn, name)}


def _look(conn: Connection, order: Order, name: str) -> Mapping[str, Any]:
    """Say how it is with a worker: as it is after the order, if that was given already."""
    del order
    drain = draining.find(conn, name)
    return {"worker": name} if drain is None else _told(drain)


def _told(drain: draining.Drain) -> Mapping[str, Any]:
    return msgspec.to_builtins(drain)
