"""What sandboxes have left in the embedded servers of a data directory, seen with administrators' eyes.

Slots of the pool are no leftovers: they wait for their sandbox.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from valhalla.kit.cellkey import CellKey

# counts of the control plane itself; no sandbox may write there
_OWN: Final = b"valhalla:"


async def leftovers(data_dir: Path) -> list[str]:
    """Return every schema, database, role, ACL user, key, NATS account, stream directory and file of a sandbox.

    Raises:
        Unavailable: a server does not answer.
    """
    import redis.asyncio as redis

    from valhalla.backing import embedded_url
    from valhalla.embedded import Endpoints, valkey_admin_url
    from valhalla.kit import natsauth
    from valhalla.sandbox.slices.nats import NatsSlice
    from valhalla.sandbox.slices.postgres import PostgresSlice
    from valhalla.sandbox.slices.sqlite import SqliteSlice
    from valhalla.sandbox.slices.valkey import ValkeySlice

    cell = CellKey.parse((data_dir / "cell.key").read_text())
    services: dict[str, Any] = json.loads((data_dir / "control.json").read_text())["services"]
    postgres_port = int(services["postgres"]["address"].rpartition(":")[2])
    valkey_url = valkey_admin_url(cell, int(services["valkey"]["address"].rpartition(":")[2]))
    url = embedded_url(cell, Endpoints(postgres_port=postgres_port))
    slices: list[Any] = [
        PostgresSlice(url, cell),
        ValkeySlice(valkey_url, cell),
        NatsSlice(services["nats"]["address"], cell),
    ]
    files = await SqliteSlice(data_dir / "sqlite", cell).found()
    found = [f"{item.slice} {item.kind} {item.name}" for item in files]
    for part in slices:
        items = await part.found()
        # read after the listing, so that a slot built meanwhile is known
        slots = await _slots(url)
        found.extend(f"{item.slice} {item.kind} {item.name}" for item in items if item.sandbox_id not in slots)
        await part.close()
    admin: Any = cast("Any", redis.Redis).from_url(valkey_url)
    found.extend([f"valkey key {key!r}" async for key in admin.scan_iter() if not key.startswith(_OWN)])
    await admin.aclose()
    known = set(natsauth.trust(cell).accounts)
    streams = data_dir / "nats"
    found.extend(
        f"nats streams of {path.name}"
        for path in streams.glob("**/jetstream/*")
        if path.is_dir() and path.name not in known
    )
    return found


async def _slots(url: str) -> set[str]:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows = await connection.fetch("SELECT id FROM valhalla.sandboxes WHERE owner = '' AND status = 'pending'")
    finally:
        await connection.close()
    return {row["id"] for row in rows}
