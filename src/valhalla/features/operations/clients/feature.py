"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.clients import rules
from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.service import ClientService, client_registry
from valhalla.kernel.principal import Principal
from valhalla.kit.changes import Snapshot

if TYPE_CHECKING:
    from fastapi import APIRouter


class Clients(Feature):
    """API clients: who may ask, from a snapshot."""

    name: ClassVar[str] = "clients"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and follow it."""
        registry = client_registry(platform.ledger)
        platform.feed.add(registry)
        self._feed = platform.feed
        self._view = platform.feed.view(registry.name, _by_id)
        self._now = platform.clock.now
        self.service = ClientService(platform.db, registry, clock=platform.clock)

    def by_id(self) -> Mapping[str, ApiClient]:
        """Return the clients of the current snapshot."""
        return self._view.value

    def authenticate(self, key: str) -> Principal | None:
        """Return whose key it is, None for nobody's."""
        return rules.authenticate(key, self._view.value, self._now)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/api-clients``."""
        from valhalla.features.operations.clients.api import router

        return (router(self.service, self._feed.refresh),)


def _by_id(snapshot: Snapshot[ApiClient]) -> Mapping[str, ApiClient]:
    return {key: record.value for key, record in snapshot.records.items()}
