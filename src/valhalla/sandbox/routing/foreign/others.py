"""Who else routes a source: routers are ingresses, and their heartbeats say it."""

from __future__ import annotations

import asyncio
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import BEATS_STREAM
from valhalla.sandbox.routing.following import Following
from valhalla.sandbox.routing.link import Link

_SILENT: Final = 1.5


class Others:
    """The routers of the same source that are there, by their heartbeats as ingresses."""

    def __init__(self, control: Link, mine: str) -> None:
        self._mine = mine
        self._prefix = mine.rpartition("-")[0]
        self._seen: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._following = Following(control, BEATS_STREAM, f"{subjects.BEATS}.*", self._note)
        self._control = control

    async def start(self) -> None:
        """Read who is there.

        Raises:
            Unavailable, ApiError: NATS does not tell.
        """
        await self._following.start()
        try:
            async with asyncio.timeout(2):
                await self._following.complete.wait()
        except TimeoutError as error:
            raise Unavailable("nats", "nats does not say which routers there are") from error

    @property
    def is_current(self) -> bool:
        """Whether it has missed nothing."""
        return self._control.is_open and self._following.is_current

    def present(self) -> list[str]:
        """Return those that are there."""
        now = self._loop.time()
        return [name for name, at in self._seen.items() if now - at < _SILENT]

    def _note(self, subject: str, _block: bytes | None, body: bytes, _sequence: int) -> None:
        name = subject.partition(".")[2]
        if name.rpartition("-")[0] != self._prefix or name == self._mine:
            return
        if b'"gone":true' in body:
            self._seen.pop(name, None)
        else:
            self._seen[name] = self._loop.time()
