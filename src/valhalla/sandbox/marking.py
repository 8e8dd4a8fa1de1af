"""Deciding the end of a sandbox in one round trip, for the destroy that a user waits for.

``Teardown.mark`` takes the same step statement by statement; it explains every refusal and waits for its turn, so it
is asked when this one is refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import asyncpg

from valhalla.kit import outbox
from valhalla.kit.advisory import EVENT_SUBJECT
from valhalla.kit.json import dumps_text
from valhalla.kit.ledger import Ledger
from valhalla.sandbox.contracts import Sandbox
from valhalla.sandbox.slices.postgres.pools import Pools

_MARK: Final = "SELECT valhalla.mark_destroying($1::jsonb, $2)"


async def mark_at_once(
    pools: Pools, ledger: Ledger, sandbox: Sandbox, *, actor: str, reason: str, now: datetime, lease_until: datetime
) -> bool:
    """Move a sandbox, as it was just read, to ``destroying``; False when it is not as it was read any more.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    routes = sorted((route.kind, route.key) for route in sandbox.routes)
    story: list[tuple[str, dict[str, Any]]] = [
        ("destroying", {"from": sandbox.status, "to": "destroying", "reason": reason}),
        *(("route_unlinked", {"route": f"{kind}:{key}", "reason": "destroying"}) for kind, key in routes),
    ]
    subject = f"sandbox.{sandbox.id}"
    data = {"id": sandbox.id, "name": sandbox.name, "owner": sandbox.owner, "reason": reason}
    event = outbox.compose({"subject": subject, "type": "sandbox.destroying", "data": data}, now)
    request = {
        "id": sandbox.id,
        "source": sandbox.status,
        "lease_until": lease_until.isoformat(),
        "routes": routes,
        "subject": subject,
        "ledger": [stored(ledger.compose(actor, action, "sandbox", sandbox.id, details)) for action, details in story],
        "events": [stored(event)],
    }
    try:
        async with pools.connection() as connection:
            return await connection.fetchval(_MARK, dumps_text(request), EVENT_SUBJECT)
    except asyncpg.TransactionRollbackError:
        # it is not as it was read, or a deadlock was solved at our cost
        return False


def stored(row: Any) -> dict[str, Any]:
    """Write a composed row as JSON: bytes as hex, instants with every microsecond, as the ledger has signed them."""
    return {
        name: value.hex() if isinstance(value, bytes) else value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }
