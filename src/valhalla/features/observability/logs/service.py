"""The use cases of log lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from valhalla.features.observability.logs import store
from valhalla.features.observability.logs.contracts import Filter, Line, Raw, Sent
from valhalla.features.observability.logs.errors import LogsFull
from valhalla.features.observability.logs.intake import Intake
from valhalla.kernel.clock import Clock, isoformat
from valhalla.kernel.principal import Principal
from valhalla.kit import correlation, paging, trace
from valhalla.kit.db import Database

_SETTLING: Final = timedelta(seconds=2)


class Lines(NamedTuple):
    """A page of lines; ``newest`` is where to follow from."""

    items: Sequence[Line]
    next: str | None
    newest: str


class Received(NamedTuple):
    """How many lines were taken, and for how many there was no room."""

    accepted: int
    dropped: int


class LogService:
    """Searches lines and takes those of clients."""

    def __init__(self, db: Database, intake: Intake, *, clock: Clock) -> None:
        self._db = db
        self._intake = intake
        self._clock = clock

    async def page(self, principal: Principal, wanted: Filter, *, limit: int, cursor: str | None) -> Lines:
        """Return lines that fit, newest first.

        Raises:
            Forbidden: the scope is missing.
            Invalid: the cursor was not made here.
        """
        principal.require("logs:read")
        size = paging.clamp(limit)
        rows = await self._db.read(store.page, wanted, before=_position(cursor), limit=size + 1)
        items = rows[:size]
        settled = self._settled()
        newest = (items[0].at, items[0].id) if items and items[0].at < settled else (settled, 0)
        return Lines(items, _cursor(items[-1].at, items[-1].id) if len(rows) > size else None, _cursor(*newest))

    async def after(self, principal: Principal, wanted: Filter, *, limit: int, cursor: str) -> Lines:
        """Return lines that came after a place, oldest first, and the place of the last; for who follows.

        They are two seconds old: other processes write in batches, and what comes later must not stand before it.

        Raises:
            Forbidden: the scope is missing.
            Invalid: the cursor was not made here.
        """
        principal.require("logs:read")
        position = _position(cursor)
        assert position is not None
        settled = self._settled()
        if wanted.until is None or wanted.until > settled:
            wanted = replace(wanted, until=settled)
        items = await self._db.read(store.newer, wanted, after=position, limit=paging.clamp(limit))
        return Lines(items, None, _cursor(items[-1].at, items[-1].id) if items else cursor)

    def _settled(self) -> datetime:
        return self._clock.now() - _SETTLING

    def take(self, principal: Principal, lines: Sequence[Sent]) -> Received:
        """Take a client's lines; who sent them, and when they came, is not the client's to say.

        Raises:
            Forbidden: the scope is missing.
            LogsFull: there is room for none of them now.
        """
        principal.require("logs:write")
        now = self._clock.now().timestamp()
        current, span = correlation.correlation_id(), trace.current()
        accepted = 0
        for line in lines:
            members: dict[str, Any] = dict(line.context or {})
            for name in _OURS & members.keys():
                members[f"field_{name}"] = members.pop(name)
            if line.at is not None:
                members["sent_at"] = isoformat(line.at)
            if current is not None and line.correlation_id not in (None, current):
                members["received_with"] = current
            members |= {
                "level": line.level,
                "logger": line.category,
                "event": line.message,
                "correlation_id": line.correlation_id or current,
                "trace_id": None if span is None else span.trace_id,
            }
            accepted += self._intake.batches.put(Raw(now, "client", members, principal.id, principal.owner))
        if lines and not accepted:
            raise LogsFull(retry_after=2)
        return Received(accepted, len(lines) - accepted)


# what the server says of a line, and so no client
_OURS: Final = frozenset(
    {"timestamp", "level", "logger", "event", "message", "correlation_id", "trace_id", "span_id", "principal"}
    | {"received_with", "sent_at"}
)


def _cursor(at: datetime, line: int) -> str:
    return paging.encode({"at": at.isoformat(), "id": line})


def _position(cursor: str | None) -> tuple[datetime, int] | None:
    position = paging.decode(cursor)
    return None if position is None else (paging.instant(position, "at"), paging.integer(position, "id"))
