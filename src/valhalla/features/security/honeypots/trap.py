"""The gate's decoys: noted in memory by the request, written at once by who watches the trap."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from valhalla.features.security.honeypots.contracts import DECOYS, Caught, Decoy, Kind
from valhalla.features.security.honeypots.faces import ANSWERS, Answer
from valhalla.features.security.honeypots.recording import Recorder
from valhalla.features.security.honeypots.rules import Bait, score_of
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Unavailable
from valhalla.kit.changes import View
from valhalla.kit.log import get_logger
from valhalla.kit.redact import text
from valhalla.kit.waiting import Backoff, first_of
from valhalla.kit.writing import upkeep

EVERY: Final = 1.0
_MOST: Final = 5_000
_AT_ONCE: Final = 500
_SHOWN: Final = 300
_KINDS: Final[Mapping[str, Kind]] = {"path": "decoy_path", "key": "decoy_key", "canary": "canary"}
_log = get_logger("honeypots")


class Trap:
    """Takes what touches decoys. What does not fit is counted and gone."""

    def __init__(
        self, bait: View[Bait], recorder: Recorder, settle: Callable[[], Awaitable[None]], *, clock: Clock
    ) -> None:
        self._bait = bait
        self._recorder = recorder
        self._settle = settle
        self._clock = clock
        self._waiting: deque[Caught] = deque()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.beat: Callable[[], None] = lambda: None
        self.noted: Callable[[str], None] = lambda _: None
        """Told the address of everybody who touches one."""
        self.touches = self.dropped = 0

    def find(self, path: str, query: bytes) -> Decoy | None:
        """Return the decoy that a request touches."""
        return self._bait.value.find(path, query)

    def touched(
        self, found: Decoy, method: str, path: str, headers: Mapping[bytes, bytes], address: str | None
    ) -> Answer | None:
        """Note it; a canary is answered by what is there, so that nobody notices."""
        agent = headers.get(b"user-agent", b"")[:_SHOWN].decode("latin-1")
        seen = {"method": method[:20], "path": text(path, limit=_SHOWN), "user_agent": text(agent)}
        self._note(found, address, seen)
        return None if found.kind == "canary" else ANSWERS[found.face]

    def key_used(self, digest: str, address: str | None) -> None:
        """Hear of a well-formed key that is nobody's (``Clients.unknown``)."""
        found = self._bait.value.key(digest)
        if found is not None:
            self._note(found, address, {})

    async def run(self, stop: asyncio.Event) -> None:
        """Write what was touched, as soon as it is, until told to stop; then once more."""
        self._loop = asyncio.get_running_loop()
        backoff = Backoff(0.2, 10.0)
        pause = EVERY
        while not stop.is_set():
            self.beat()
            await first_of(self._wake, stop, seconds=pause)
            self._wake.clear()
            try:
                await self.drain()
            except Unavailable as problem:
                pause = backoff.next()
                _log.warning("what decoys caught waits", error=problem.detail, waiting=len(self._waiting))
            except Exception:  # noqa: BLE001 - it must write the next
                pause = backoff.next()
                _log.exception("what decoys caught could not be written")
            else:
                pause = EVERY
                backoff.reset()

    async def drain(self) -> None:
        """Write what waits now.

        Raises:
            Unavailable: the database cannot be reached; it waits on.
        """
        while self._waiting:
            batch = [self._waiting[number] for number in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                with upkeep():
                    _, acted = await self._recorder.write(batch)
            except Unavailable:
                raise
            except Exception:
                # the same would come of it the next time
                self._forget(len(batch))
                self.dropped += len(batch)
                raise
            self._forget(len(batch))
            if acted:
                await self._settle()

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()

    def _note(self, found: Decoy, address: str | None, seen: Mapping[str, Any]) -> None:
        self.touches += 1
        if address is not None:
            self.noted(address)
        if len(self._waiting) >= _MOST:
            self.dropped += 1
            return
        kind = _KINDS[found.kind]
        payload = {"decoy": found.name, **seen}
        self._waiting.append(
            Caught(self._clock.now(), new_id(), DECOYS, kind, "http", address, score_of(found), payload)
        )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
