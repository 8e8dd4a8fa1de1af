"""The admin actions on the blocklist: keep somebody out at once, and let him in again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from valhalla.features.operations.admin.contracts import AdminAction, Order, Run
from valhalla.features.security.blocklist import Blocklist
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Unavailable
from valhalla.kit.db import Database

_SOURCE: Final = "admin"
# conditions are a rule of the blocklist, nothing to write in a hurry
_TYPES: Final = ("ip", "cidr", "principal", "api_key", "user_agent", "country", "asn", "path")
_ENTITY: Final[Mapping[str, Any]] = {
    "type": {"enum": list(_TYPES), "description": "principal is an owner, api_key the id of an API client"},
    "value": {"type": "string", "minLength": 1, "maxLength": 500},
}
_SECONDS: Final[Mapping[str, Any]] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 315_360_000,
    "description": "how long; for ever when absent",
}


def blocks(feature: Blocklist, db: Database, clock: Clock) -> list[AdminAction]:
    """Return what is done about somebody who must not come in."""
    service = feature.service

    def block(conn: Connection, order: Order) -> Mapping[str, Any]:
        asked = order.arguments
        seconds = asked.get("seconds")
        until = None if seconds is None else (clock.now() + timedelta(seconds=seconds)).replace(microsecond=0)
        change = service.block(
            conn,
            type=asked["type"],
            value=asked["value"],
            reason=order.reason,
            source=_SOURCE,
            actor=order.principal.id,
            severity="error",
            expires_at=until,
        )
        # nobody locks himself out; of what is blocked was told already
        service.check(conn, order.principal, [replace(change, dry_run=True)])
        rule = change.after or {}
        return {"key": change.key, "changed": change.changed, "expires_at": rule.get("expires_at")}

    def unblock(conn: Connection, order: Order) -> Mapping[str, Any]:
        asked = order.arguments
        change = service.unblock(
            conn, type=asked["type"], value=asked["value"], actor=order.principal.id, reason=order.reason
        )
        return {"changed": change is not None, "key": None if change is None else change.key}

    def doing(work: Callable[[Connection, Order], Mapping[str, Any]]) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            done = await db.run(work, order)
            # what is committed stays, and the blocklist catches up by itself
            with contextlib.suppress(Unavailable):
                await feature.keeper.refresh()
            return done

        return run

    def trying(work: Callable[[Connection, Order], Mapping[str, Any]]) -> Run:
        def trial(conn: Connection, order: Order) -> Mapping[str, Any]:
            attempt = conn.begin_nested()
            try:
                return work(conn, order)
            finally:
                attempt.rollback()

        async def run(order: Order) -> Mapping[str, Any]:
            return await db.run(trial, order)

        return run

    schema: dict[str, Any] = {"type": "object", "required": ["type", "value"], "additionalProperties": False}
    scope = "blocklist:write"
    return [
        AdminAction(
            "entity.block",
            "Let nobody in with an address, key, owner or the like; goes on for longer if that stands already.",
            {**schema, "properties": {**_ENTITY, "seconds": _SECONDS}},
            "reversible",
            scope,
            doing(block),
            trying(block),
            while_closed=True,
        ),
        AdminAction(
            "entity.unblock",
            "End such a block.",
            {**schema, "properties": _ENTITY},
            "reversible",
            scope,
            doing(unblock),
            trying(unblock),
            while_closed=True,
        ),
    ]
