"""Two faces of a guard: each test runs for ``def`` and for ``async def``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from valhalla.guard import Guard, Outcome

ROLES = {"ana": ["finance"], "bo": ["finance"], "cy": ["ops"], "di": ["ops", "finance"]}


class Time:
    """A clock that a test moves, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Face:
    """Declares bodies and calls them the sync or the async way; ``ran`` notes each execution of an effect."""

    def __init__(self, guard: Guard, *, is_async: bool) -> None:
        self.guard = guard
        self.is_async = is_async
        self.ran: list[Any] = []

    def action(self, name: str, body: Callable[..., Any], **options: Any) -> Any:
        """Declare ``body`` under ``name``, as an async function on the async face."""
        return self.guard.action(name, **options)(self.function(body))

    def function(self, body: Callable[..., Any]) -> Any:
        """Return ``body``, as an async function on the async face."""
        if not self.is_async:
            return body

        @functools.wraps(body)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return body(*args, **kwargs)

        return awaited

    def call(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call and return the value."""
        result = action(*args, **kwargs)
        return asyncio.run(_wait(result)) if self.is_async else result

    def outcome(self, action: Any, *args: Any, **kwargs: Any) -> Outcome[Any]:
        """Call and return the outcome."""
        return self.call(action.outcome, *args, **kwargs)

    def together(self, action: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
        """Make all calls at once, in threads or as tasks; return values and exceptions in order."""
        if self.is_async:

            async def all_of() -> list[Any]:
                return await asyncio.gather(*(action(*args) for args in calls), return_exceptions=True)

            return asyncio.run(all_of())

        def one(args: tuple[Any, ...]) -> Any:
            try:
                return action(*args)
            except Exception as error:  # noqa: BLE001 - compared by the test
                return error

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    def do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the guard, or its async twin."""
        if self.is_async:
            return asyncio.run(getattr(self.guard, f"a{name}")(*args, **kwargs))
        return getattr(self.guard, name)(*args, **kwargs)


async def _wait(result: Any) -> Any:
    return await result
