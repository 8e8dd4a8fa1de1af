"""Follows a control plane: a thread that waits for changes, so that no request ever does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from valhalla.gate.connected.held import Held, is_behind, read, successor
from valhalla.kernel.clock import Clock
from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff

if TYPE_CHECKING:
    import httpx

_log = get_logger("connected")
_WAIT: Final = 25.0
_CONNECT: Final = 5.0
_QUICK: Final = 0.1
_PAUSE: Final = 0.5
# a process that lags catches up in milliseconds; a database that was restored from a backup stays behind
_BEHIND: Final = 10.0


class Follower:
    """``held`` is the newest that was told; while nobody answers it stays."""

    def __init__(
        self,
        url: str,
        key: str,
        held: Held | None,
        *,
        clock: Clock,
        transport: Callable[[], httpx.BaseTransport] | None,
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._transport = transport
        self._stop = threading.Event()
        self._behind_since: float | None = None
        self.held = held
        self.loaded = threading.Event()
        if held is not None:
            self.loaded.set()
        self.fresh_at = clock.monotonic()
        """When the plane last said that this is what holds, on the monotonic clock."""
        self.error: str | None = "nothing was told yet" if held is None else None
        self._thread = threading.Thread(target=self._run, name="valhalla-snapshot", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; what is held stays."""
        self._stop.set()

    def _run(self) -> None:
        import httpx

        backoff = Backoff(0.2, 5.0)
        transport = None if self._transport is None else self._transport()
        timeout = httpx.Timeout(_WAIT + 10, connect=_CONNECT)
        headers = {"Authorization": f"Bearer {self._key}", "User-Agent": "valhalla-gate"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=timeout, transport=transport) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                failure, news = self._ask(client)
                if self._stop.is_set():
                    return
                self._tell(failure)
                if failure is not None:
                    self._stop.wait(backoff.next())
                    continue
                backoff.reset()
                if not news and time.monotonic() - began < _QUICK:
                    # a plane that is about to stop lets nobody wait
                    self._stop.wait(_PAUSE)

    def _ask(self, client: httpx.Client) -> tuple[str | None, bool]:
        """Return why it failed, if it did, and whether something is new."""
        import httpx

        held = self.held
        query = {} if held is None else {"watch": held.revision, "wait": f"{_WAIT:g}"}
        try:
            answer = client.get("/system/snapshot", params=query)
            if answer.status_code == 304:
                self.fresh_at = self._clock.monotonic()
                return None, False
            if answer.status_code != 200:
                return f"it answers {answer.status_code}", False
            return None, self._take(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:200], False
        except (msgspec.MsgspecError, Problem, KeyError, ValueError) as error:
            return f"what it tells is not understood: {type(error).__name__}: {error}"[:200], False

    def _take(self, body: bytes) -> bool:
        document, parts = read(body)
        now = self._clock.monotonic()
        if is_behind(self.held, parts):
            self._behind_since = now if self._behind_since is None else self._behind_since
            if now - self._behind_since < _BEHIND:
                return False
        self._behind_since = None
        self.held = successor(self.held, document, parts, self._clock)
        self.fresh_at = now
        self.loaded.set()
        return True

    def _tell(self, failure: str | None) -> None:
        if failure is not None and failure != self.error:
            _log.warning("the control plane is not followed; what it told last holds", reason=failure)
        elif failure is None and self.error is not None and self.held is not None:
            _log.info("the control plane is followed", revision=self.held.revision)
        self.error = failure
