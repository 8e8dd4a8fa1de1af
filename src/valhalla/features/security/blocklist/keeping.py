"""Keep the index as the registry is: loaded in pieces, then change by change.

The feed's snapshots hold a Python record for every key and are copied at every change, which a million rules are too
many for (docs/adr/0019). The revisions are the same, and so is what they promise: no change is lost or seen twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Final

from valhalla.features.security.blocklist import store
from valhalla.features.security.blocklist.contracts import Compile
from valhalla.features.security.blocklist.matching import Index
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff, first_of

_log = get_logger("blocklist")
# so few that reading one page holds up the event loop for about a millisecond
_PAGE: Final = 500
_POLL: Final = 5.0


class Keeper:
    """``index`` is what the gate asks; ``revision`` the change that it is up to."""

    def __init__(self, db: Database, compile: Compile | None = None) -> None:  # noqa: A002
        self._db = db
        self.compiler = compile
        self.index = Index(compile)
        self.revision = 0
        self.news = asyncio.Event()
        """Set, and another put in its place, when the revision is another."""
        self._head = 0
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._loaded = False
        self.beat: Callable[[], None] = lambda: None
        """Called at every turn, whatever came of it."""
        self.error: str | None = None

    @property
    def behind(self) -> int:
        """How many changes it has heard of and not read yet."""
        return max(0, self._head - self.revision)

    def compile_with(self, compile: Compile) -> None:  # noqa: A002
        """Let ``cel`` rules be compiled; before ``start``."""
        self.compiler = compile
        self.index = Index(compile)

    def told(self, revision: int) -> None:
        """Hear of a revision that is committed; a lower one than ours means that a backup was restored."""
        self._head = revision
        if revision != self.revision:
            self._wake.set()

    async def refresh(self) -> None:
        """Read now what is committed.

        Raises:
            Unavailable: the database cannot be reached.
        """
        async with self._lock:
            before, head = self.revision, await self._db.read(store.head)
            if not self._loaded or head < self.revision:
                await self._load(head)
            await self._follow()
            self._head = max(self._head, self.revision)
            if self.revision != before:
                news, self.news = self.news, asyncio.Event()
                news.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until told to stop."""
        backoff = Backoff(0.1, 5.0)
        pause = _POLL
        while not stop.is_set():
            self.beat()
            await first_of(self._wake, stop, seconds=pause)
            self._wake.clear()
            try:
                if self._head != self.revision or not self._loaded:
                    await self.refresh()
            except Unavailable as error:
                # the feed says so too, and rings again when it is back
                self.error, pause = error.detail, backoff.next()
            except Exception as error:  # noqa: BLE001 - what is blocked stays blocked, and it begins again
                self.error, pause = type(error).__name__, backoff.next()
                _log.exception("the blocklist could not be read", revision=self.revision)
            else:
                self.error, pause = None, _POLL
                backoff.reset()

    async def _load(self, revision: int) -> None:
        """Build another index beside the one that is asked, and put it in place."""
        index, after = Index(self.compiler), ""
        while lines := await self._db.read(store.page, after, _PAGE):
            for line in lines:
                self._apply(index, line)
            after = lines[-1].mark
            self.beat()
        # what was written while it read is replayed: each change says how its rule is afterwards
        revision = max(revision, await self._replay(index, revision))
        old, self.index, self.revision, self._loaded = self.index, index, revision, True
        # one after the other: a tuple of both would take all of them down at once, and everybody would wait
        for _ in chain(old.blocked.pieces(), old.allowed.pieces()):
            await asyncio.sleep(0)

    async def _follow(self) -> None:
        reached = await self._replay(self.index, self.revision)
        if reached < 0:
            await self._load(await self._db.read(store.head))
        else:
            self.revision = reached

    async def _replay(self, index: Index, revision: int) -> int:
        """Apply what comes after a revision; -1: history does not reach back that far."""
        while lines := await self._db.read(store.since, revision, _PAGE):
            if lines[0].mark != revision + 1:
                return -1
            for line in lines:
                self._apply(index, line)
            revision = lines[-1].mark
            if len(lines) < _PAGE:
                break
        return revision

    def _apply(self, index: Index, line: store.Line) -> None:
        try:
            if line.until is None:
                index.remove(line.action, line.type, line.value)
            else:
                index.put(line.action, line.type, line.value, line.until)
        except (Invalid, ValueError, KeyError) as error:
            # a rule of a newer release must not stop the others
            _log.warning("a rule of the blocklist is passed over", type=line.type, error=type(error).__name__)
