"""The use cases of API clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from valhalla.features.operations.clients import rules
from valhalla.features.operations.clients.contracts import ROLE, SCOPES, ApiClient, IssuedKey
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Invalid, NotFound
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Registry

REGISTRY: Final = "api_clients"
_OWNER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


class ClientNotFound(NotFound):
    """No client has this id."""

    code = "client-not-found"
    title = "There is no such API client"
    help = "'valhalla key ls' lists them."


def client_registry(ledger: Ledger) -> Registry[ApiClient]:
    """Return the registry of API clients."""
    return Registry(REGISTRY, ApiClient, ledger)


class ClientService:
    """Issues, lists and revokes keys."""

    def __init__(
        self,
        db: Database,
        registry: Registry[ApiClient],
        *,
        environment: str = "local",
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self._registry = registry
        self._environment = environment
        self._clock = clock or Clock()

    async def issue(
        self,
        principal: Principal,
        *,
        owner: str,
        scopes: Sequence[str],
        name: str | None = None,
        expires_at: datetime | None = None,
        keep: Callable[[str], None] | None = None,
    ) -> IssuedKey:
        """Make a client with a key.

        Raises:
            Forbidden: the principal is no admin.
            Invalid: a scope is unknown, the owner's form is wrong, or the expiry has passed.
        """
        principal.require("admin")
        unknown = sorted(scope for scope in set(scopes) - SCOPES if ROLE.fullmatch(scope) is None)
        if unknown or not scopes:
            raise Invalid(f"scopes are {', '.join(sorted(SCOPES))} and role:<name>", unknown=unknown)
        if _OWNER.fullmatch(owner) is None:
            raise Invalid("an owner is 1 to 63 characters of a-z, 0-9, '_', '.' and '-', a letter first")
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise Invalid("the expiry has already passed")
        client_id = new_id()
        key = rules.mint(client_id, self._environment)
        client = ApiClient(
            id=client_id,
            name=name or f"{owner}-{client_id[:4]}",
            owner=owner,
            scopes=tuple(sorted(set(scopes))),
            digest=rules.digest(key),
            prefix=key[: len(f"vh_{self._environment}_") + 4],
            created_by=principal.id,
            created_at=now,
            expires_at=expires_at,
        )
        if keep is not None:
            keep(key)
        await self._db.run(self._registry.put, client_id, client, actor=principal.id, expect_version=0)
        return IssuedKey(client, key)

    async def first_admin(self, keep: Callable[[str], None]) -> IssuedKey | None:
        """Make the admin key of a new installation; None when there already is a client.

        ``keep`` stores the key before it becomes valid: after a crash in between, the next start makes another.
        """
        page = await self._db.read(self._registry.page, limit=1)
        if page.items:
            return None
        return await self.issue(SYSTEM, owner="admin", scopes=["admin"], name="first-start admin", keep=keep)

    async def list(self, principal: Principal, *, limit: int, cursor: str | None) -> Any:
        """Return a page of clients; an admin's right.

        Raises:
            Forbidden: the principal is no admin.
        """
        principal.require("admin")
        return await self._db.read(self._registry.page, limit=limit, cursor=cursor)

    async def revoke(self, principal: Principal, client_id: str) -> None:
        """End a client's key in every process.

        Raises:
            Forbidden: the principal is no admin.
            ClientNotFound: there is none of this id.
        """
        principal.require("admin")
        if await self._db.read(self._registry.find, client_id) is None:
            raise ClientNotFound(f"no API client has the id '{client_id[:64]}'")
        await self._db.run(self._registry.delete, client_id, actor=principal.id)
