"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.connected.giving import Giver, Wanted
from valhalla.kit.changes.followers import Followers

if TYPE_CHECKING:
    from fastapi import APIRouter


class Connected(Feature):
    """Hands registries on to the gates of other applications."""

    name: ClassVar[str] = "connected"

    def __init__(self, platform: Platform, registries: Mapping[str, Wanted]) -> None:
        """``registries`` are followed already; of each those values are handed on that are wanted."""
        settings = platform.settings
        self._giver = Giver(
            platform.feed, registries, environment=settings.environment, notice=settings.maintenance_notice
        )
        self._followers = Followers(platform.feed, *registries)

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/snapshot``."""
        from valhalla.features.operations.connected.api import router

        return (router(self._giver, self._followers),)

    def drain(self) -> None:
        """Let everybody go who waits: they come again, to a process that stays."""
        self._followers.close()

    async def stop(self) -> None:
        """Let everybody go who waits."""
        self._followers.close()
