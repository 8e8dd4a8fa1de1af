"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, ReadinessCheck
from valhalla.features.operations.connected.enforcing import enforcing
from valhalla.features.operations.connected.giving import Giver, Wanted
from valhalla.kit.changes.followers import Followers
from valhalla.kit.checks import Verdict

if TYPE_CHECKING:
    from fastapi import APIRouter

_HELP: Final = (
    "'valhalla applications' says why; most need country_header, asn_header, or trusted_proxies in install()."
)


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
        self._db, self._now = platform.db, platform.clock.now

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/snapshot`` and ``/system/applications``."""
        from valhalla.features.operations.connected import applications
        from valhalla.features.operations.connected.api import router

        return (router(self._giver, self._followers), applications.router(self._db, self._now))

    def readiness(self) -> Sequence[ReadinessCheck]:
        """Return whether applications enforce what is decided here."""
        return (ReadinessCheck("applications", self._enforced, _HELP, cache=2.0),)

    async def _enforced(self) -> Verdict:
        return await enforcing(self._db, self._now())

    def drain(self) -> None:
        """Let everybody go who waits: they come again, to a process that stays."""
        self._followers.close()

    async def stop(self) -> None:
        """Let everybody go who waits."""
        self._followers.close()
