"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.config import rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.values import Values
from valhalla.kit.changes import Snapshot
from valhalla.kit.changes.followers import Followers
from valhalla.kit.registry import Registry

if TYPE_CHECKING:
    from fastapi import APIRouter

REGISTRY = "config"


class Configuration(Feature):
    """Configuration: entries of every environment, read over HTTP, as a stream or as a document."""

    name: ClassVar[str] = "config"

    def __init__(self, platform: Platform) -> None:
        """Register the registry and follow it."""
        self.registry: Registry[Entry] = Registry(REGISTRY, Entry, platform.ledger, validate=rules.check)
        platform.feed.add(self.registry)
        self._feed = platform.feed
        self._db = platform.db
        self._environment = platform.settings.environment
        self.values = Values(platform.feed, REGISTRY)
        self.followers = Followers(platform.feed, REGISTRY)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/config`` and ``/v1/kv``."""
        from valhalla.features.operations.config import api, consul_api

        def snapshot() -> Snapshot[Entry]:
            return self._feed.snapshot(REGISTRY)

        return (
            api.router(self.registry, self._db, self._feed.refresh, self.values, self.followers, self._environment),
            consul_api.router(snapshot, self.followers, self._environment),
        )

    def drain(self) -> None:
        """End the streams: whoever follows comes again, to a process that stays."""
        self.followers.close()

    async def stop(self) -> None:
        """Let everybody go who waits."""
        self.followers.close()
