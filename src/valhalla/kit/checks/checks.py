"""The set of checks: asked side by side, each for a bounded time, each once at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from valhalla.kit.checks.contracts import Check, Report, Result
from valhalla.kit.checks.flight import Flight
from valhalla.kit.checks.judging import Part, judged

if TYPE_CHECKING:
    import asyncio


class Checks:
    """A set of checks. Safe to use from any thread, blocking or on a loop; nothing is ready that was not looked at."""

    def __init__(
        self, *, max_age: float = 60.0, messages: bool = True, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """A result older than ``max_age`` seconds proves nothing.

        Without ``messages`` only the type of an unexpected exception is told, for reports that strangers read.
        """
        self._max_age = max_age
        self._messages = messages
        self._now = monotonic
        self._parts: dict[str, Part] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The registered checks, in order."""
        return tuple(self._parts)

    def register(
        self,
        name: str,
        check: Check,
        *,
        critical: bool = True,
        timeout: float = 3.0,
        cache: float = 0.0,
        help: str | None = None,  # noqa: A002 - the member's name in every report
        replaces: bool = False,
    ) -> None:
        """Add a check; until it has answered, nothing is ready if it is ``critical``.

        An async one runs on the loop of who asks, any other in a thread. ``timeout`` and ``cache`` in seconds; an
        answer is repeated for ``cache``. ``help`` says what to do when it fails.

        Raises:
            ValueError: the name is taken and ``replaces`` is not set, or a duration makes no sense.
        """
        if not timeout > 0 or not 0 <= cache <= self._max_age:
            raise ValueError("a timeout is more than 0 and a cache lasts no longer than the maximum age")
        with self._lock:
            if name in self._parts and not replaces:
                raise ValueError(f"there already is a check {name!r}")
            self._parts[name] = Part(name, check, critical, timeout, cache, help)

    def remove(self, name: str) -> None:
        """Forget a check, if there is one of this name."""
        with self._lock:
            self._parts.pop(name, None)

    async def run(self, *, only: Collection[str] | None = None, exclude: Collection[str] = ()) -> Report:
        """Ask the checks side by side and report; nothing is waited for longer than its time-out."""
        import asyncio

        loop = asyncio.get_running_loop()
        parts = self._chosen(only, exclude)

        async def landed(flight: Flight, seconds: float) -> None:
            done = asyncio.Event()
            flight.tell(lambda: loop.call_soon_threadsafe(done.set))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), seconds)

        flights = [flight for part in parts if (flight := self._ask(part, loop)) is not None]
        await asyncio.gather(*(landed(flight, left) for flight in flights if (left := flight.left(self._now())) > 0))
        return self._report(parts)

    def run_blocking(self, *, only: Collection[str] | None = None, exclude: Collection[str] = ()) -> Report:
        """Like ``run``, for a caller without an event loop; async checks get loops of their own."""
        parts = self._chosen(only, exclude)
        for flight in [flight for part in parts if (flight := self._ask(part, None)) is not None]:
            if (left := flight.left(self._now())) > 0:
                flight.done.wait(left)
        return self._report(parts)

    def last(self) -> Report:
        """Report what is known without asking; what is too old, late or was never asked is not ready."""
        return self._report(self._chosen(None, ()))

    def forget(self) -> None:
        """Ask every check at the next run, however fresh its answer is."""
        with self._lock:
            for part in self._parts.values():
                part.fresh_until = float("-inf")

    def close(self) -> None:
        """Be ready no more, and ask nobody."""
        with self._lock:
            self._closed = True
            flights = [part.flight for part in self._parts.values() if part.flight is not None]
        for flight in flights:
            flight.abandon()

    def _chosen(self, only: Collection[str] | None, exclude: Collection[str]) -> list[Part]:
        with self._lock:
            return [
                part for name, part in self._parts.items() if (only is None or name in only) and name not in exclude
            ]

    def _ask(self, part: Part, loop: asyncio.AbstractEventLoop | None) -> Flight | None:
        """Return what must be waited for: a call that is under way, or a new one; nothing while an answer is fresh."""
        now = self._now()
        with self._lock:
            if self._closed:
                return None
            if part.flight is not None and not part.flight.is_lost:
                return part.flight
            if now < part.fresh_until:
                return None
            flight = part.flight = Flight(now, now + part.timeout)

        def finish(outcome: object) -> None:
            ended = self._now()
            with self._lock:
                if part.flight is not flight:
                    return
                part.flight = None
                part.result = judged(part, outcome, ended - flight.started, messages=self._messages)
                part.answered = ended
                # an answer that came too late says how it was when nobody could wait for it: ask again
                part.fresh_until = ended + part.cache if ended <= flight.until else ended
            flight.land()

        flight.start(part.check, finish, loop)
        return flight

    def _report(self, parts: Iterable[Part]) -> Report:
        now = self._now()
        with self._lock:
            results = tuple(self._seen(part, now) for part in parts)
            closed = self._closed
        failed = [result for result in results if result.critical and not result.ok]
        reason: str | None = None
        if closed:
            reason = "it is closed"
        elif not results:
            reason = "nothing is checked"
        elif failed:
            reason = f"{failed[0].name}: {failed[0].reason}"
        return Report(reason is None, reason, results)

    def _seen(self, part: Part, now: float) -> Result:
        known = Result(part.name, False, "it was not asked yet", critical=part.critical, help=part.help)
        if part.result is not None and part.answered is not None:
            known = replace(part.result, age=(part.result.age or 0.0) + max(0.0, now - part.answered))
        if self._closed:
            return replace(known, ok=False, reason="it is closed")
        if part.flight is not None and now >= part.flight.until:
            waited = now - part.flight.started
            return replace(known, ok=False, late=True, seconds=waited, reason=f"no answer within {part.timeout:g} s")
        if known.ok and known.age is not None and known.age > self._max_age:
            return replace(known, ok=False, reason=f"the last answer is {known.age:.0f} s old")
        return known
