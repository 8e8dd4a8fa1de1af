"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.features.operations.clients import networks, rules
from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.errors import AddressRefused
from valhalla.features.operations.clients.people import PREFIX, People
from valhalla.features.operations.clients.rules import Leases
from valhalla.features.operations.clients.service import ClientService, client_registry
from valhalla.features.operations.clients.usage import LastUsed
from valhalla.kernel.principal import Principal
from valhalla.kernel.scopes import scopes_of
from valhalla.kit.changes import Snapshot
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from fastapi import APIRouter

_LOOP = loop("clients", 5.0, "notes when keys were last used")


class Clients(Feature):
    """API clients: who may ask, from a snapshot."""

    name: ClassVar[str] = "clients"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and follow it."""
        registry = client_registry(platform.ledger)
        platform.feed.add(registry)
        self._feed = platform.feed
        self._db = platform.db
        self._environment = platform.settings.environment
        self._view = platform.feed.view(registry.name, self._leases)
        self._now = platform.clock.now
        self.service = ClientService(platform.db, registry, environment=self._environment, clock=platform.clock)
        self.last_used = LastUsed(platform.db)
        self.last_used.beat = partial(platform.beat, _LOOP.name)
        self.people = People(platform, self.last_used.of)
        self.unknown: Callable[[str, str | None], None] | None = None
        """Told the SHA-256 (hex) of every well-formed key that is nobody's, and the address: decoys are among them."""

    def by_id(self) -> Mapping[str, ApiClient]:
        """Return the clients of the current snapshot."""
        records = self._feed.snapshot(self.service.registry.name).records
        return {key: record.value for key, record in records.items()}

    def find(self, client_id: str) -> ApiClient | None:
        """Return a client of the current snapshot."""
        record = self._feed.snapshot(self.service.registry.name).records.get(client_id)
        return None if record is None else record.value

    def find_principal(self, client_id: str) -> Principal | None:
        """Return who a client or a person is, None for one that does not exist or may not ask now."""
        if client_id.startswith(PREFIX):
            return self.people.find_principal(client_id)
        client = self.find(client_id)
        if client is None or not client.active or (client.expires_at is not None and client.expires_at <= self._now()):
            return None
        return Principal(
            client.id, client.owner, frozenset(client.scopes) | scopes_of(client.role), limits=client.limits
        )

    def owner_of(self, name: str) -> str:
        """Return whose key one with this id is, also of one that may not ask any more; else the name itself."""
        client = self.people.find(name) if name.startswith(PREFIX) else self.find(name)
        return name if client is None else client.owner

    def authenticate(self, key: str, address: str | None = None) -> Principal | None:
        """Return whose key it is, None for nobody's.

        Raises:
            AddressRefused: the key may not be used from this address.
        """
        now = self._now()
        lease = rules.lease_of(key, self._view.value, self._environment, now)
        if lease is None:
            if self.unknown is not None and rules.client_id_of(key) is not None:
                self.unknown(rules.digest(key), address)
            return None
        if lease.networks and not networks.holds(lease.networks, address):
            raise AddressRefused
        self.last_used.mark(lease.principal.id, now)
        return lease.principal

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/api-clients``."""
        from valhalla.features.operations.clients.api import router
        from valhalla.features.operations.clients.face import face_of

        return (
            router(self.service, face_of(self.service, self.last_used.of), self._db, self._feed.refresh),
            *self.people.routers(),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what writes the last uses."""
        return {"clients.last-used": self.last_used.run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    def _leases(self, snapshot: Snapshot[ApiClient]) -> Leases:
        return rules.leases_of((record.value for record in snapshot.records.values()), self._environment)
