"""The use cases of API clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.clients import guards, rules, usage
from valhalla.features.operations.clients.contracts import ApiClient, IssuedKey, Retired
from valhalla.features.operations.clients.errors import ClientInactive, ClientNotFound
from valhalla.features.operations.clients.networks import networks as parsed_networks
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Invalid
from valhalla.kernel.scopes import Role
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Change, Record, Registry

T = TypeVar("T")
REGISTRY: Final = "api_clients"
WRITE: Final = "keys:write"
MAX_GRACE: Final = timedelta(days=30)
# a key that is replaced again and again during an overlap: the oldest ones end
_RETIRED: Final = 4

Action = Literal["activate", "deactivate"]


def client_registry(ledger: Ledger) -> Registry[ApiClient]:
    """Return the registry of API clients."""
    return Registry(REGISTRY, ApiClient, ledger, validate=guards.check)


class ClientService:
    """Issues, changes, rotates and revokes keys."""

    def __init__(
        self,
        db: Database,
        registry: Registry[ApiClient],
        *,
        environment: str = "local",
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self.registry = registry
        self.environment = environment
        self.clock = clock or Clock()

    async def issue(
        self,
        principal: Principal,
        *,
        owner: str,
        scopes: Sequence[str] = (),
        role: Role | None = None,
        name: str | None = None,
        expires_at: datetime | None = None,
        networks: Sequence[str] = (),
        limits: Sequence[str] = (),
        keep: Callable[[str], None] | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> IssuedKey:
        """Make a client with a key; ``keep`` stores the key before it becomes valid.

        Raises:
            Forbidden: the principal may not issue keys, or not with these rights.
            Invalid: a scope is unknown, the owner's form is wrong, a network or limit cannot be read, it has expired.
        """
        principal.require(WRITE)
        now = self.clock.now()
        if expires_at is not None and expires_at <= now:
            raise Invalid("the expiry has already passed")
        client_id = new_id()
        key = rules.mint(client_id, self.environment)
        client = ApiClient(
            id=client_id,
            name=name or f"{owner}-{client_id[:4]}",
            owner=owner,
            scopes=tuple(sorted(set(scopes))),
            digest=rules.digest(key),
            prefix=rules.prefix(key),
            created_by=principal.id,
            created_at=now,
            expires_at=expires_at,
            role=role,
            environment=self.environment,
            networks=tuple(map(str, parsed_networks(networks))),
            limits=tuple(limits),
        )
        guards.check(client)
        guards.within_rights(principal, client)
        if keep is not None and not dry_run:
            keep(key)
        await self._db.run(
            self.registry.put, client_id, client, actor=principal.id, expect_version=0, reason=reason, dry_run=dry_run
        )
        return IssuedKey(client, key)

    async def first_admin(self, keep: Callable[[str], None]) -> IssuedKey | None:
        """Make the admin key of a new installation; None when there already is a client.

        ``keep`` stores the key before it becomes valid: after a crash in between, the next start makes another.
        """
        page = await self._db.read(self.registry.page, limit=1)
        if page.items:
            return None
        return await self.issue(SYSTEM, owner="admin", scopes=["admin"], name="first-start admin", keep=keep)

    async def rotate(
        self,
        principal: Principal,
        client_id: str,
        *,
        grace: timedelta,
        reason: str | None = None,
        dry_run: bool = False,
        keep: Callable[[Connection, IssuedKey], None] | None = None,
    ) -> tuple[IssuedKey, Record[ApiClient]]:
        """Give a client a new key; the one before is taken for ``grace`` more, then no longer. 0 ends every old one.

        ``keep`` stores the key in the same transaction.

        Raises:
            Forbidden: the principal may not, or not for a client of these rights.
            ClientNotFound, ClientInactive: there is none of this id, or it could not be used anyway.
        """
        principal.require(WRITE)
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise Invalid(f"the grace is from 0 to {MAX_GRACE.total_seconds():.0f} seconds")
        now = self.clock.now()
        key = rules.mint(client_id, self.environment)

        def work(conn: Connection) -> tuple[IssuedKey, Record[ApiClient]]:
            record = self._locked(conn, client_id)
            before = record.value
            guards.within_rights(principal, before)
            if not before.active or (before.expires_at is not None and before.expires_at <= now):
                raise ClientInactive(id=client_id)
            old = [Retired(before.digest, now + grace), *(one for one in before.retired if one.until > now)]
            after = msgspec.structs.replace(
                before,
                digest=rules.digest(key),
                prefix=rules.prefix(key),
                environment=self.environment,
                rotated_at=now,
                retired=tuple(old[:_RETIRED]) if grace else (),
            )
            change = self.registry.put(
                conn, client_id, after, actor=principal.id, reason=reason or "rotated", dry_run=dry_run
            )
            issued = IssuedKey(after, key)
            if keep is not None and not dry_run:
                keep(conn, issued)
            return issued, Record(client_id, after, change.revision, record.created_at, change.at)

        return await self._db.run(work)

    async def switch(
        self,
        principal: Principal,
        client_id: str,
        action: Action,
        *,
        confirm: bool = False,
        reason: str | None = None,
    ) -> Record[ApiClient]:
        """Activate a client or deactivate it: its keys are not taken until it is activated again.

        Raises:
            Forbidden: the principal may not, or not for a client of these rights.
            ClientNotFound, LastAdmin: there is none of this id, or nobody could administer afterwards.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Record[ApiClient]:
            record = self._locked(conn, client_id)
            guards.within_rights(principal, record.value)
            after = msgspec.structs.replace(record.value, active=action == "activate")
            change = self.registry.put(conn, client_id, after, actor=principal.id, reason=reason or action)
            self.keep_admin(conn, [change], confirm=confirm)
            if not change.changed:
                return record
            return Record(client_id, after, change.revision, record.created_at, change.at)

        return await self._db.run(work)

    async def revoke(
        self,
        principal: Principal,
        client_id: str,
        *,
        confirm: bool = False,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Change:
        """End a client's keys in every process, those of an overlap too.

        Raises:
            Forbidden: the principal may not, or not for a client of these rights.
            ClientNotFound, LastAdmin: there is none of this id, or nobody could administer afterwards.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Change:
            record = self._locked(conn, client_id)
            guards.within_rights(principal, record.value)
            change = self.registry.delete(conn, client_id, actor=principal.id, reason=reason, dry_run=dry_run)
            self.keep_admin(conn, [change], confirm=confirm)
            if not dry_run:
                usage.drop(conn, client_id)
            return change

        return await self._db.run(work)

    def keep_admin(self, conn: Connection, changes: Sequence[Change], *, confirm: bool = False) -> None:
        """Refuse changes after which no key could administer the control plane.

        Raises:
            LastAdmin: it is so, and ``confirm`` is not set.
        """
        if not confirm:
            guards.keep_admin(conn, self.registry, changes, self.clock.now())

    def _locked(self, conn: Connection, client_id: str) -> Record[ApiClient]:
        self.registry.lock(conn)
        record = self.registry.find(conn, client_id)
        if record is None:
            raise ClientNotFound(f"no API client has the id {client_id[:64]!a}")
        return record
