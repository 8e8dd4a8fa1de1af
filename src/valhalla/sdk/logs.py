"""Log lines: search, follow and send them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from valhalla.sdk.access import Model
from valhalla.sdk.further_calls import LogCalls
from valhalla.sdk.groups import AsyncGroup, Group
from valhalla.sdk.wire import Request, present

if TYPE_CHECKING:
    from valhalla.sdk.client import Client

_LOGS = "/system/logs"


class LogLine(Model, frozen=True, kw_only=True):
    """One stored line. ``origin`` says who wrote it: the server, its gate (``access``), or a client."""

    at: datetime
    id: int
    level: str
    origin: str
    category: str
    message: str
    correlation_id: str | None = None
    trace_id: str | None = None
    principal: str | None = None
    owner: str | None = None
    context: dict[str, Any] | None = None


class LogPage(Model, frozen=True, kw_only=True):
    """Lines, newest first; with ``after`` oldest first. ``newest`` is the next ``after``."""

    items: tuple[LogLine, ...] = ()
    next: str | None = None
    newest: str


def query_logs(
    *, limit: int | None = None, cursor: str | None = None, after: str | None = None, **wanted: Any
) -> Request[LogPage]:
    """One page of lines. Filters: level, category, text, correlation_id, trace_id, principal, origin, since, until."""
    return Request("POST", f"{_LOGS}/query", LogPage, body=present(limit=limit, cursor=cursor, after=after, **wanted))


def send_logs(lines: Sequence[Mapping[str, Any]]) -> Request[dict[str, Any]]:
    """Send up to 1000 lines, each with message and, if wanted, level, category, correlation_id, at and context."""
    return Request("POST", _LOGS, dict[str, Any], body={"items": [dict(line) for line in lines]})


class Logs(Group, LogCalls):
    """Log lines of the control plane and of those who send theirs there."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def search(self, *, limit: int = 50, **wanted: Any) -> LogPage:
        """Return the newest lines that fit; see ``query_logs`` for the filters."""
        return self._client.send(query_logs(limit=limit, **wanted))

    def send(self, *lines: Mapping[str, Any]) -> dict[str, Any]:
        """Send lines; the answer tells how many were ``accepted`` and how many ``dropped``."""
        return self._client.send(send_logs(lines))

    def follow(self, *, pause: float = 1.0, **wanted: Any) -> Iterator[LogLine]:
        """Yield lines that fit as they come, for ever; each is about two seconds old."""
        page = self.search(limit=1, **wanted)
        while True:
            page = self._client.send(query_logs(limit=200, after=page.newest, **wanted))
            yield from page.items
            if not page.items:
                time.sleep(pause)


class AsyncLogs(AsyncGroup, LogCalls):
    """Log lines of the control plane and of those who send theirs there."""

    async def search(self, *, limit: int = 50, **wanted: Any) -> LogPage:
        """Return the newest lines that fit; see ``query_logs`` for the filters."""
        return await self._client.send(query_logs(limit=limit, **wanted))

    async def send(self, *lines: Mapping[str, Any]) -> dict[str, Any]:
        """Send lines; the answer tells how many were ``accepted`` and how many ``dropped``."""
        return await self._client.send(send_logs(lines))

    async def follow(self, *, pause: float = 1.0, **wanted: Any) -> AsyncIterator[LogLine]:
        """Yield lines that fit as they come, for ever; each is about two seconds old."""
        page = await self.search(limit=1, **wanted)
        while True:
            page = await self._client.send(query_logs(limit=200, after=page.newest, **wanted))
            for line in page.items:
                yield line
            if not page.items:
                await asyncio.sleep(pause)
