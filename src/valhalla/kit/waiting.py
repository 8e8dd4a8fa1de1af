"""Waiting: for one of several events, and longer after each failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Final

_waited: Final[ContextVar[float]] = ContextVar("valhalla_waited", default=0.0)


def note_waited(seconds: float) -> None:
    """Say that the caller of this request asked to wait so long for news: that is no slowness of ours."""
    _waited.set(_waited.get() + seconds)


def take_waited() -> float:
    """Return how many seconds were noted in this context, and forget them."""
    if seconds := _waited.get():
        _waited.set(0.0)
    return seconds


async def first_of(*events: asyncio.Event, seconds: float) -> bool:
    """Wait until one of the events is set (``True``) or ``seconds`` have passed (``False``)."""
    if any(event.is_set() for event in events):
        return True
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for waiter in waiters:
            waiter.cancel()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work``, interrupted when ``stop`` is set; what it raises is raised here."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


class Backoff:
    """Pauses that double from ``base`` to ``cap`` seconds, each drawn at random from its upper half."""

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._failures = 0

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        pause = min(self._cap, self._base * 2 ** min(self._failures, 32))
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, guards nothing

    def reset(self) -> None:
        """Begin again at ``base``."""
        self._failures = 0
