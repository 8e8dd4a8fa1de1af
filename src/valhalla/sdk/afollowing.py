"""A value that a control plane keeps current on this event loop: read without asking, renewed by a task that waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.following import PAUSES, WAIT, asking

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient

V = TypeVar("V")


class AsyncFollowed(Generic[V]):
    """As ``Followed``, whose thread is a task here; made by ``begin``."""

    def __init__(
        self,
        client: AsyncClient,
        path: str,
        query: Mapping[str, str],
        build: Callable[[dict[str, Any], V | None], V],
        document: dict[str, Any],
        after: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._client = client
        self._path = path
        self._query = dict(query)
        self._build = build
        self._after = after
        self._revision: str = document["revision"]
        self.value: V = build(document, None)
        self.error: str | None = None
        """Why the value may be old; None while it is followed."""
        self._task = asyncio.create_task(self._follow(), name=f"valhalla:{path}")

    async def close(self) -> None:
        """Stop following; the value stays."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                query = {**self._query, "watch": self._revision, "wait": str(WAIT)}
                document = await self._client.document(asking(self._path, query))
                if document is not None:
                    self.value = self._build(document, self.value)
                    self._revision = document["revision"]
                if self._after is not None:
                    await self._after()
                self.error, failures = None, 0
            except (ApiProblem, Unreachable) as error:
                self.error = str(error)
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1


async def begin(
    client: AsyncClient,
    path: str,
    query: Mapping[str, str],
    build: Callable[[dict[str, Any], V | None], V],
    *,
    after: Callable[[], Awaitable[None]] | None = None,
) -> AsyncFollowed[V]:
    """Load a value and begin to follow it. ``after`` is awaited after every answer.

    Raises:
        ApiProblem, Unreachable: it cannot be loaded.
    """
    document = await client.document(asking(path, query))
    return AsyncFollowed(client, path, query, build, document, after)
