"""What bouncers are told: everything that holds, or what changed since they last asked.

A bouncer's cursor is a revision of the blocklist, whose changes are committed in their order and without gaps: nothing
is lost between two answers, however clocks stand, and an answer costs what changed. All of it is read in pages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from valhalla.features.security.blocklist import Keeper
from valhalla.features.security.blocklist.errors import BadRule
from valhalla.features.security.blocklist.rules import network_of
from valhalla.features.security.crowdsec import rules, store
from valhalla.features.security.crowdsec.errors import CannotFilter
from valhalla.features.security.crowdsec.rules import Row, Wanted
from valhalla.kit.db import Database
from valhalla.kit.json import dumps

_PAGE: Final = 1000
_SMALL: Final = 262_144
_KEPT: Final = 64
# durations in an answer that is given again are that much too long at most
_FRESH: Final = 2.0

Rows = AsyncIterator[list[Row]]


class Pulls:
    """Reads decisions for bouncers."""

    def __init__(self, db: Database, keeper: Keeper, now: Callable[[], datetime]) -> None:
        self._db = db
        self._keeper = keeper
        self._now = now
        self._answers: dict[tuple[int, int, Wanted], tuple[float, bytes]] = {}
        self._answering = asyncio.Lock()

    @property
    def head(self) -> int:
        """The revision up to which an answer that is given now can tell."""
        return self._keeper.revision

    async def can_follow(self, cursor: int, head: int, wanted: Wanted) -> bool:
        """Say whether what came after a revision is known: not after a backup was restored."""
        if self._made(cursor, head, wanted) is not None:
            return True
        return cursor <= self.head and await self._db.read(store.is_kept, cursor, self.head)

    async def everything(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """Give the answer to a bouncer that starts."""
        async for piece in self._document(self.holding(wanted), _nothing()):
            yield piece

    async def changes(self, cursor: int, head: int, wanted: Wanted) -> AsyncIterator[bytes]:
        """Give the answer to a bouncer that knows ``cursor``. Thousands of bouncers ask the same: it is made once."""
        key = (cursor, head, wanted)
        async with self._answering:
            made = self._made(*key)
            if made is None:
                pieces = self._document(self._new(cursor, head, wanted), self._gone(cursor, head, wanted))
                small = b""
                async for piece in pieces:
                    small += piece
                    if len(small) > _SMALL:
                        break
                else:
                    while len(self._answers) >= _KEPT:
                        del self._answers[next(iter(self._answers))]
                    self._answers[key] = (time.monotonic(), small)
                    pieces = None
            else:
                small, pieces = made, None
        yield small
        if pieces is not None:
            async for piece in pieces:
                yield piece

    def _made(self, cursor: int, head: int, wanted: Wanted) -> bytes | None:
        """Return an answer that was made a moment ago."""
        made = self._answers.get((cursor, head, wanted))
        return None if made is None or time.monotonic() - made[0] > _FRESH else made[1]

    async def holding(self, wanted: Wanted) -> Rows:
        """Give every decision that holds now and is asked for."""
        for kind in wanted.types:
            after = ""
            while rows := await self._db.read(store.rules_of, kind, after, _PAGE):
                after = rows[-1].key
                yield self._held(rows, wanted)

    async def asked(self, query: Mapping[str, str]) -> Rows:
        """Give the decisions that a query asks for.

        Raises:
            CannotFilter: an address or network in it is none.
        """
        wanted = rules.wanted(query, tuple(rules.SCOPES))
        at = self._now().timestamp()
        inside = rules.boolean(query, "contains") is False
        if text := query.get("ip") or query.get("range"):
            try:
                plain = str(network_of(text, lenient=True))
            except BadRule as error:
                raise CannotFilter(f"unable to convert {text[:64]!a} to int: invalid address or range") from error
            index = self._keeper.index.blocked
            keys = await asyncio.to_thread(index.keys_within, plain) if inside else index.keys_around(plain, at)
            async for rows in self._at(keys):
                yield self._held(rows, wanted)
            return
        async for rows in self.holding(wanted):
            yield rows

    async def _new(self, cursor: int, head: int, wanted: Wanted) -> Rows:
        after = cursor
        while rows := await self._db.read(store.new_in, after, head, _PAGE):
            after = rows[-1].number
            yield self._held(rows, wanted)
        # what is not allowed any more is blocked again
        async for rows in self._allowed(cursor, head):
            yield self._held(rows, wanted)

    async def _gone(self, cursor: int, head: int, wanted: Wanted) -> Rows:
        after = cursor
        while found := await self._db.read(store.gone_in, after, head, _PAGE):
            after = found[-1][0]
            yield [row for _, row in found if wanted.takes(row)]
        async for rows in self._allowed(cursor, head):
            yield [row for row in rows if wanted.takes(row) and self._is_allowed(row)]

    async def _allowed(self, cursor: int, head: int) -> Rows:
        """Give the rules about what was allowed in a window, or no longer: it must end at bouncers too."""
        index = self._keeper.index.blocked
        for kind, value in await self._db.read(store.allowed_in, cursor, head):
            keys = [f"{kind}:{value}"] if kind in ("country", "asn") else []
            if kind in ("ip", "cidr"):
                keys = await asyncio.to_thread(index.keys_within, value)
            async for rows in self._at(keys):
                yield rows

    async def _at(self, keys: list[str]) -> Rows:
        for begin in range(0, len(keys), _PAGE):
            yield await self._db.read(store.rules_at, keys[begin : begin + _PAGE])

    def _held(self, rows: Iterable[Row], wanted: Wanted) -> list[Row]:
        now = self._now().timestamp()
        return [row for row in rows if row.until > now and wanted.takes(row) and not self._is_allowed(row)]

    def _is_allowed(self, row: Row) -> bool:
        allowed = self._keeper.index.allowed
        return len(allowed) > 0 and allowed.covers(row.type, row.value, self._now().timestamp())

    async def _document(self, new: Rows, gone: Rows) -> AsyncIterator[bytes]:
        yield b'{"new":['
        async for piece in listed(new, lambda row: rules.decision(row, self._now().timestamp())):
            yield piece
        yield b'],"deleted":['
        async for piece in listed(gone, rules.ended):
            yield piece
        yield b"]}"


async def listed(pages: Rows, shown: Callable[[Row], dict[str, Any]]) -> AsyncIterator[bytes]:
    """Give the members of a JSON array, a page at a time."""
    first = True
    async for rows in pages:
        if rows:
            yield (b"" if first else b",") + dumps([shown(row) for row in rows])[1:-1]
            first = False


async def _nothing() -> Rows:
    for rows in list[list[Row]]():
        yield rows
