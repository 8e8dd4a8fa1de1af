"""Ways through the background parts, taken every so often: evidence with an age, gathered when nobody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.checks import Verdict
from valhalla.kit.waiting import first_of, unless


class Trip:
    """One way. ``go`` returns when it has arrived; all times in seconds."""

    def __init__(self, go: Callable[[], Awaitable[None]], *, what: str, every: float, within: float) -> None:
        """``what`` names the way in a sentence. It is taken every ``every`` seconds, sooner after a failure."""
        self._go = go
        self._what = what
        self._every = every
        self._within = within
        self._known = asyncio.Event()
        self._at = 0.0
        self._seconds = 0.0
        self._reason: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Take it until ``stop`` is set, which interrupts it."""
        while not stop.is_set():
            await unless(stop, self._once())
            await first_of(stop, seconds=self._every if self._reason is None else min(self._every, self._within))

    async def _once(self) -> None:
        started = time.monotonic()
        reason: str | None = None
        try:
            async with asyncio.timeout(self._within):
                await self._go()
        except TimeoutError:
            reason = f"{self._what} did not arrive within {self._within:g} s"
        except Unavailable as problem:
            reason = problem.detail
        except Exception as error:  # noqa: BLE001 - whatever stops it is the answer
            said = error.detail if isinstance(error, Problem) else type(error).__name__
            reason = f"{self._what}: {said}"
        self._at = time.monotonic()
        self._seconds, self._reason = self._at - started, reason
        self._known.set()

    async def check(self) -> Verdict:
        """Say how it went the last time, and how long ago; the first one is waited for."""
        await self._known.wait()
        age = time.monotonic() - self._at
        if self._reason is not None:
            return Verdict(False, self._reason, age)
        return Verdict(True, f"{self._what} took {self._seconds * 1000:.0f} ms", age)
