"""The admin actions of the features that are there; a feature may bring more of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from valhalla.features.observability.alerts import Alerts
from valhalla.features.operations.admin.contracts import AdminAction, Order, Run
from valhalla.features.operations.admin.handouts import Handouts
from valhalla.features.operations.clients import MAX_GRACE, Clients
from valhalla.features.operations.deployments import REMEDY, Deployments
from valhalla.features.operations.flags import Flags
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.maintenance import Maintenance
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.work.desk import JobDesk

Settle = Callable[[], Awaitable[None]]
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 64}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200}


def _object(required: tuple[str, ...] = (), **properties: Any) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _settled(run: Run, settle: Settle) -> Run:
    """Let this process see its own write when the answer is given."""

    async def both(order: Order) -> Mapping[str, Any]:
        value = await run(order)
        with contextlib.suppress(Unavailable):
            await settle()
        return value

    return both


def keys(clients: Clients, handouts: Handouts, settle: Settle) -> list[AdminAction]:
    """Return what is done about API keys in an emergency."""
    service = clients.service

    def revoking(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            id_ = order.arguments["id"]
            confirm = order.arguments.get("confirm", False)
            await service.revoke(order.principal, id_, confirm=confirm, reason=order.reason, dry_run=dry_run)
            return {"revoked": [id_]}

        return run

    def of_owner(order: Order) -> list[str]:
        owner = order.arguments["owner"]
        return sorted(id_ for id_, client in clients.by_id().items() if client.owner == owner)

    async def revoke_owner(order: Order) -> Mapping[str, Any]:
        found = of_owner(order)
        for id_ in found:
            await service.revoke(order.principal, id_, reason=order.reason)
        return {"revoked": found}

    async def show_owner(order: Order) -> Mapping[str, Any]:
        return {"revoked": of_owner(order)}

    async def deactivate(order: Order) -> Mapping[str, Any]:
        id_ = order.arguments["id"]
        await service.switch(order.principal, id_, "deactivate", reason=order.reason)
        return {"id": id_, "active": False}

    def rotating(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            id_, grace = order.arguments["id"], timedelta(seconds=order.arguments.get("grace_seconds", 0))
            issued, record = await service.rotate(
                order.principal,
                id_,
                grace=grace,
                reason=order.reason,
                dry_run=dry_run,
                keep=lambda conn, made: handouts.keep(conn, order, "key.rotate", id_, made.key),
            )
            until = None if not grace else max(one.until for one in record.value.retired)
            told: dict[str, Any] = {"id": id_, "owner": issued.client.owner, "old_until": until}
            # the key is nowhere in what is stored of an action: it waits, sealed, for who asked
            return told if dry_run else {**told, "prefix": issued.client.prefix, "handout": order.id}

        return run

    id_ = _object(("id",), id=_ID)
    rotate = _object(
        ("id",),
        id=_ID,
        grace_seconds={
            "type": "integer",
            "minimum": 0,
            "maximum": int(MAX_GRACE.total_seconds()),
            "description": "how long the old key is taken on; 0 ends it at once",
        },
    )
    revoke = _object(("id",), id=_ID, confirm={"type": "boolean", "description": "also the last admin's"})
    scope = "keys:write"
    return [
        AdminAction(
            "key.revoke",
            "End an API key at once, everywhere.",
            revoke,
            "irreversible",
            scope,
            _settled(revoking(dry_run=False), settle),
            revoking(dry_run=True),
            while_closed=True,
        ),
        AdminAction(
            "key.deactivate",
            "Take an API key no longer, until it is activated again.",
            id_,
            "reversible",
            scope,
            _settled(deactivate, settle),
            while_closed=True,
        ),
        AdminAction(
            "key.rotate",
            "Give an API client a new key; who asked takes it once: POST /system/admin/handouts/{operation}.",
            rotate,
            "irreversible",
            scope,
            _settled(rotating(dry_run=False), settle),
            rotating(dry_run=True),
            while_closed=True,
        ),
        AdminAction(
            "key.revoke-owner",
            "End every API key of an owner; somebody else approves it.",
            _object(("owner",), owner=_NAME),
            "irreversible",
            scope,
            _settled(revoke_owner, settle),
            show_owner,
            approval="1 of anyone",
        ),
    ]


def modes(maintenance: Maintenance, settle: Settle) -> list[AdminAction]:
    """Return what closes and opens writes."""

    def setting(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            mode, until = order.arguments["mode"], order.arguments.get("until")
            at = None if until is None else _instant(until)
            await maintenance.service.set(order.principal, mode, order.reason, until=at, dry_run=dry_run)
            return {"mode": mode, "until": until}

        return run

    schema = _object(
        ("mode",),
        mode={"enum": ["normal", "read_only", "maintenance"]},
        until={"type": "string", "maxLength": 40, "description": "RFC 3339; when it ends by itself"},
    )
    return [
        AdminAction(
            "maintenance.set-mode",
            "Close writes for everybody but operators, or open them again.",
            schema,
            "reversible",
            "maintenance:write",
            _settled(setting(dry_run=False), settle),
            setting(dry_run=True),
            while_closed=True,
        )
    ]


def flags(feature: Flags) -> list[AdminAction]:
    """Return the kill switch."""

    async def kill(order: Order) -> Mapping[str, Any]:
        record = await feature.service.kill(
            order.principal, order.arguments["key"], order.arguments.get("variant"), order.reason
        )
        return {"key": record.key, "killed": True, "version": record.version}

    async def revive(order: Order) -> Mapping[str, Any]:
        record = await feature.service.revive(order.principal, order.arguments["key"], order.reason)
        return {"key": record.key, "killed": False, "version": record.version}

    scope = "flags:write"
    return [
        AdminAction(
            "flag.kill",
            "Let a flag serve one variant, or the caller's default, whatever its rules say.",
            _object(("key",), key=_NAME, variant=_NAME),
            "reversible",
            scope,
            kill,
        ),
        AdminAction(
            "flag.revive",
            "Let a killed flag follow its rules.",
            _object(("key",), key=_NAME),
            "reversible",
            scope,
            revive,
        ),
    ]


def jobs(desk: JobDesk) -> list[AdminAction]:
    """Return what is done about jobs that did not end well."""

    def retrying(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            found = order.arguments
            matched, ids = await desk.replay_many(
                order.principal,
                status=found.get("status", "dead"),
                name=found.get("name"),
                queue=found.get("queue"),
                dry_run=dry_run,
            )
            return {"matched": matched, "replayed": len(ids)}

        return run

    return [
        AdminAction(
            "jobs.retry-dead",
            "Put dead, cancelled or held jobs back into their queues.",
            _object(status={"enum": ["dead", "cancelled", "held"]}, name=_NAME, queue=_NAME),
            "irreversible",
            "jobs:write",
            retrying(dry_run=False),
            retrying(dry_run=True),
        )
    ]


def smoke(feature: Deployments) -> list[AdminAction]:
    """Return the smoke tests."""

    async def run(order: Order) -> Mapping[str, Any]:
        found = order.arguments
        made = await feature.smoke.request(
            order.principal, found["suite"], base_url=found.get("base_url"), deployment=found.get("deployment")
        )
        return {"run": made.id}

    def undoing(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            return await feature.smoke.undoing.undo(order.principal, order.reason, **order.arguments, dry_run=dry_run)

        return run

    return [
        AdminAction(
            "smoke.run",
            "Have a suite of smoke tests run by a job.",
            _object(("suite",), suite=_NAME, base_url={"type": "string", "maxLength": 500}, deployment=_ID),
            "reversible",
            "deployments:write",
            run,
        ),
        AdminAction(
            REMEDY,
            "Do what a suite of smoke tests declares for its failure; failed runs do it by themselves.",
            {**_object(run=_ID, suite=_NAME), "minProperties": 1, "maxProperties": 1},
            "idempotent",
            "deployments:write",
            undoing(dry_run=False),
            undoing(dry_run=True),
        ),
    ]


def alerts(feature: Alerts) -> list[AdminAction]:
    """Return what is done about alerts."""

    async def acknowledge(order: Order) -> Mapping[str, Any]:
        found = await feature.service.acknowledge(order.principal, order.arguments["id"], order.reason)
        return {"id": found.id, "status": found.status}

    async def resolve(order: Order) -> Mapping[str, Any]:
        found = await feature.service.resolve(order.principal, order.arguments["id"], order.reason)
        return {"id": found.id, "status": found.status}

    id_ = _object(("id",), id=_ID)
    scope = "alerts:write"
    return [
        AdminAction("alert.acknowledge", "Say that somebody looks after it.", id_, "idempotent", scope, acknowledge),
        AdminAction("alert.resolve", "Say that it is over.", id_, "idempotent", scope, resolve),
    ]


def limits(feature: RateLimits, db: Database, settle: Settle) -> list[AdminAction]:
    """Return the switch of a rate limit."""

    def switching(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            name, enabled = order.arguments["name"], order.arguments["enabled"]

            def work(conn: Any) -> int:
                if not dry_run:
                    feature.registry.lock(conn)
                value = msgspec.structs.replace(feature.registry.get(conn, name).value, enabled=enabled)
                return feature.registry.put(
                    conn, name, value, actor=order.principal.id, reason=order.reason, dry_run=dry_run
                ).revision

            return {"name": name, "enabled": enabled, "revision": await db.run(work)}

        return run

    return [
        AdminAction(
            "limit.switch",
            "Switch a rate limit on or off.",
            _object(("name", "enabled"), name=_NAME, enabled={"type": "boolean"}),
            "reversible",
            "limits:write",
            _settled(switching(dry_run=False), settle),
            switching(dry_run=True),
        )
    ]


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("/arguments/until: write an instant such as 2026-11-30T18:00:00Z") from None
