"""The values of API clients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

SCOPES: Final = frozenset(
    {
        "admin",
        "sandbox:read",
        "sandbox:write",
        "audit:read",
        "holds:read",
        "holds:approve",
        "alerts:read",
        "alerts:write",
    }
)
ROLE: Final = re.compile(r"role:[A-Za-z0-9_.:-]{1,60}")
"""A scope that opens no route: it says which quorums its holder may approve for (``role:finance``)."""


class ApiClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One client as the registry stores it; ``digest`` is the SHA-256 of its key in hex."""

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    digest: str
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A fresh client and its key, which is never shown again."""

    client: ApiClient
    key: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.client.id})"
