"""The values of API clients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from valhalla.kernel import scopes
from valhalla.kernel.scopes import Role

SCOPES: Final = frozenset(scopes.SCOPES)
ROLE: Final = re.compile(r"role:[A-Za-z0-9_.:-]{1,60}")
"""A scope that opens no route: it says which quorums its holder may approve for (``role:finance``)."""


class Retired(msgspec.Struct, frozen=True):
    """A key that was replaced and is still taken ``until`` then."""

    digest: str
    until: datetime


class ApiClient(msgspec.Struct, frozen=True):
    """One client as the registry stores it; ``digest`` is the SHA-256 of its key in hex.

    ``networks`` are the only ones the key may be used from (all, if none is named); ``limits`` are the key's own, such
    as ``100/minute``, beside those that the registry of limits has for everybody.
    """

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    digest: str
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    role: Role | None = None
    environment: str = "local"
    active: bool = True
    networks: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    rotated_at: datetime | None = None
    retired: tuple[Retired, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A fresh client and its key, which is never shown again."""

    client: ApiClient
    key: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.client.id})"
