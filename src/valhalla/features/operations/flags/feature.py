"""The feature as the composition root sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from valhalla.features.contracts import Feature, Platform
from valhalla.features.operations.flags import rules
from valhalla.features.operations.flags.contracts import Flag, SharedRule
from valhalla.features.operations.flags.service import FlagService
from valhalla.features.operations.flags.sets import FlagSets
from valhalla.kit.changes.followers import Followers
from valhalla.kit.registry import Registry

if TYPE_CHECKING:
    from fastapi import APIRouter

FLAGS = "flags"
RULES = "flag_rules"


class Flags(Feature):
    """Flags and shared rules; ``sets`` evaluates them in this process."""

    name: ClassVar[str] = "flags"

    def __init__(self, platform: Platform) -> None:
        """Register the registries and follow them."""
        feed = platform.feed
        flags: Registry[Flag] = Registry(FLAGS, Flag, platform.ledger, validate=rules.check)
        shared: Registry[SharedRule] = Registry(RULES, SharedRule, platform.ledger, validate=rules.check_shared)
        feed.add(flags)
        feed.add(shared)
        self._clock = platform.clock
        self._environment = platform.settings.environment
        self.service = FlagService(platform.db, flags, shared, feed.refresh)
        self.sets = FlagSets(
            lambda: feed.snapshot(FLAGS),
            lambda: feed.snapshot(RULES),
            now=lambda: platform.clock.now().timestamp(),
        )
        self.followers = Followers(feed, FLAGS, RULES)

    def evaluate(self, key: str, default: Any, context: Mapping[str, Any] | None = None) -> Any:
        """Return the value for the control plane's own environment, ``default`` wherever there is none."""
        found = self.sets.of(self._environment).evaluate(key, context or {})
        return found.value if found.found else default

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/system/flags``, ``/system/flag-rules`` and ``/ofrep/v1``."""
        from valhalla.features.operations.flags.api import routers
        from valhalla.features.operations.flags.ofrep_api import router

        return (
            *routers(self.service, self.sets, self.followers, self._clock, self._environment),
            router(self.sets, self.followers, self._clock, self._environment),
        )

    def drain(self) -> None:
        """End the streams: whoever follows comes again, to a process that stays."""
        self.followers.close()

    async def stop(self) -> None:
        """Let everybody go who waits."""
        self.followers.close()
