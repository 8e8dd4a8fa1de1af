"""A sandbox's own client on NATS."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats import NatsSlice
from valhalla.sandbox.slices.nats_admin import open_client


async def login(part: NatsSlice, names: Names, expires_at: datetime) -> Any:
    """A client with the sandbox's own credentials."""
    connection = part.connection(names, expires_at=expires_at)
    return await open_client(connection["url"], connection["creds"], inbox_prefix=connection["inbox_prefix"])
