"""The admin actions of the features that are there; a feature may bring more of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from valhalla.features.observability.alerts import Alerts
from valhalla.features.operations.admin.contracts import AdminAction, Order, Run
from valhalla.features.operations.admin.declaring import ID, NAME, Settle, arguments, settled
from valhalla.features.operations.deployments import REMEDY, Deployments
from valhalla.features.operations.flags import Flags
from valhalla.features.operations.limits import RateLimits
from valhalla.features.operations.maintenance import Maintenance
from valhalla.kernel.problems import Invalid
from valhalla.kit.db import Database
from valhalla.work.desk import JobDesk


def modes(maintenance: Maintenance, settle: Settle) -> list[AdminAction]:
    """Return what closes and opens writes."""

    def setting(*, dry_run: bool) -> Run:
        async def run(order: Order) -> Mapping[str, Any]:
            mode, until = order.arguments["mode"], order.arguments.get("until")
            at = None if until is None else _instant(until)
            await maintenance.service.set(order.principal, mode, order.reason, until=at, dry_run=dry_run)
            return {"mode": mode, "until": until}

        return run

    schema = arguments(
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
            settled(setting(dry_run=False), settle),
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
            arguments(("key",), key=NAME, variant=NAME),
            "reversible",
            scope,
            kill,
        ),
        AdminAction(
            "flag.revive",
            "Let a killed flag follow its rules.",
            arguments(("key",), key=NAME),
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
            arguments(status={"enum": ["dead", "cancelled", "held"]}, name=NAME, queue=NAME),
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
            arguments(("suite",), suite=NAME, base_url={"type": "string", "maxLength": 500}, deployment=ID),
            "reversible",
            "deployments:write",
            run,
        ),
        AdminAction(
            REMEDY,
            "Do what a suite of smoke tests declares for its failure; failed runs do it by themselves.",
            {**arguments(run=ID, suite=NAME), "minProperties": 1, "maxProperties": 1},
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

    id_ = arguments(("id",), id=ID)
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
            arguments(("name", "enabled"), name=NAME, enabled={"type": "boolean"}),
            "reversible",
            "limits:write",
            settled(switching(dry_run=False), settle),
            switching(dry_run=True),
        )
    ]


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("/arguments/until: write an instant such as 2026-11-30T18:00:00Z") from None
