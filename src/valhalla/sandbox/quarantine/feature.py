"""The admin actions on sandboxes, for operators and for requests that others approve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from valhalla.features.contracts import Feature, Platform, Run
from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of
from valhalla.sandbox.quarantine.service import QuarantineService
from valhalla.work.loops import Loop, loop

if TYPE_CHECKING:
    from valhalla.features.operations.admin.contracts import AdminAction, Order
    from valhalla.sandbox.service import SandboxService

_EVERY: Final = 60.0
_LOOP: Final = loop("quarantine", _EVERY, "cuts again what is in quarantine", patience=180)
_log = get_logger("sandbox.quarantine")
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["sandbox"],
    "additionalProperties": False,
    "properties": {
        "sandbox": {"type": "string", "minLength": 1, "maxLength": 64, "description": "its id, or the live one's name"}
    },
}


class Quarantine(Feature):
    """``sandbox.quarantine`` and ``sandbox.release``; ``compose`` brings the sandboxes."""

    name: ClassVar[str] = "quarantine"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._service: QuarantineService | None = None
        self.beat = partial(platform.beat, _LOOP.name)

    def compose(self, sandboxes: SandboxService) -> None:
        """Take the sandboxes."""
        platform = self._platform
        self._service = QuarantineService(
            platform.db, platform.ledger, sandboxes.backends, sandboxes, clock=platform.clock
        )

    @property
    def service(self) -> QuarantineService:
        """The use cases.

        Raises:
            Problem: nothing is composed in this runtime.
        """
        if self._service is None:
            raise Problem("no sandboxes are kept here")
        return self._service

    def admin_actions(self) -> Sequence[AdminAction]:
        """Return what is done to a sandbox of anybody."""
        from valhalla.features.operations.admin import AdminAction

        async def shut(order: Order) -> Mapping[str, Any]:
            found = await self.service.begin(order.principal, order.arguments["sandbox"], order.reason)
            at = None if found.quarantined_at is None else isoformat(found.quarantined_at)
            return {"id": found.id, "owner": found.owner, "quarantined_at": at, "open": _open(found.names.slices)}

        async def would_shut(order: Order) -> Mapping[str, Any]:
            found = await self.service.find(order.arguments["sandbox"])
            names = found.names.slices
            return {"id": found.id, "owner": found.owner, "cut": _cut(names), "open": _open(names)}

        async def release(order: Order) -> Mapping[str, Any]:
            found = await self.service.end(order.principal, order.arguments["sandbox"], order.reason)
            return {"id": found.id, "owner": found.owner, "expires_at": isoformat(found.expires_at)}

        async def would_release(order: Order) -> Mapping[str, Any]:
            found = await self.service.find(order.arguments["sandbox"])
            end = isoformat(self.service.end_of(found))
            return {"id": found.id, "owner": found.owner, "expires_at": end, "shut": found.quarantined_at is not None}

        return (
            AdminAction(
                "sandbox.quarantine",
                "Cut every login and connection of a sandbox and keep what is in it; its time stands still.",
                _SCHEMA,
                "idempotent",
                "sandbox:write",
                shut,
                would_shut,
                while_closed=True,
            ),
            AdminAction(
                "sandbox.release",
                "Let the owner of a sandbox in quarantine in again, with the time that was left.",
                _SCHEMA,
                "idempotent",
                "sandbox:write",
                release,
                would_release,
            ),
        )

    def background(self) -> Mapping[str, Run]:
        """Return what cuts again."""
        return {"quarantine": self._run}

    def loops(self) -> Sequence[Loop]:
        """Return what beats."""
        return (_LOOP,)

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.beat()
            try:
                # who has just marked one cuts it himself
                await self.service.recut(self._platform.clock.now() - timedelta(seconds=30))
            except Unavailable as problem:
                _log.warning("quarantines are cut again later", error=problem.detail)
            except Exception:  # noqa: BLE001 - the next turn tries again
                _log.exception("quarantines could not be cut again")
            await first_of(stop, seconds=_EVERY)


def _cut(slices: Sequence[str]) -> list[str]:
    return [name for name in slices if name != "sqlite"]


def _open(slices: Sequence[str]) -> list[str]:
    """Return what cannot be shut without losing it: whoever has a file open, has it."""
    return [name for name in slices if name == "sqlite"]
