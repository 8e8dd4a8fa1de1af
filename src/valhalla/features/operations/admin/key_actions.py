"""The admin actions about API keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from valhalla.features.operations.admin.contracts import AdminAction, Order, Run
from valhalla.features.operations.admin.declaring import ID, NAME, Settle, arguments, settled
from valhalla.features.operations.admin.handouts import Handouts
from valhalla.features.operations.clients import MAX_GRACE, Clients


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

    id_ = arguments(("id",), id=ID)
    rotate = arguments(
        ("id",),
        id=ID,
        grace_seconds={
            "type": "integer",
            "minimum": 0,
            "maximum": int(MAX_GRACE.total_seconds()),
            "description": "how long the old key is taken on; 0 ends it at once",
        },
    )
    revoke = arguments(("id",), id=ID, confirm={"type": "boolean", "description": "also the last admin's"})
    scope = "keys:write"
    return [
        AdminAction(
            "key.revoke",
            "End an API key at once, everywhere.",
            revoke,
            "irreversible",
            scope,
            settled(revoking(dry_run=False), settle),
            revoking(dry_run=True),
            while_closed=True,
        ),
        AdminAction(
            "key.deactivate",
            "Take an API key no longer, until it is activated again.",
            id_,
            "reversible",
            scope,
            settled(deactivate, settle),
            while_closed=True,
        ),
        AdminAction(
            "key.rotate",
            "Give an API client a new key; who asked takes it once: POST /system/admin/handouts/{operation}.",
            rotate,
            "irreversible",
            scope,
            settled(rotating(dry_run=False), settle),
            rotating(dry_run=True),
            while_closed=True,
        ),
        AdminAction(
            "key.revoke-owner",
            "End every API key of an owner; somebody else approves it.",
            arguments(("owner",), owner=NAME),
            "irreversible",
            scope,
            settled(revoke_owner, settle),
            show_owner,
            approval="1 of anyone",
        ),
    ]
