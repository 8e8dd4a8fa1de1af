"""The blocklist of a control plane as another application enforces it: a thread follows it, requests only look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from valhalla.features.security.blocklist.contracts import FOREVER, Facts
from valhalla.features.security.blocklist.errors import Blocked
from valhalla.features.security.blocklist.matching import Index, decide
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Problem
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff

if TYPE_CHECKING:
    import httpx

_log = get_logger("connected")
_PATH: Final = "/system/snapshot/blocklist"
_WAIT: Final = 25.0
_PROBES: Final = frozenset({"/live", "/livez", "/ready", "/readyz"})


class _Line(msgspec.Struct, frozen=True):
    action: str
    type: str
    value: str
    until: int | None


class _Page(msgspec.Struct, frozen=True):
    revision: int
    known: bool
    rules: list[_Line]
    next: str | None


class Blocking:
    """``revision`` is None until the whole list was read once; what was read holds on while nobody answers.

    Rules with a condition (``cel``) hold at the control plane's own gate alone.
    """

    def __init__(self, client: Callable[[], httpx.Client], *, now: Callable[[], float] = time.time) -> None:
        """``client`` makes who asks; ``now`` in seconds since the epoch."""
        self._client = client
        self._now = now
        self._stop = threading.Event()
        # an index changes in place, in a page's time; who looks waits no longer than that
        self._lock = threading.Lock()
        self._index = Index()
        self.loaded = threading.Event()
        self.revision: int | None = None
        self.refused = 0
        self.error: str | None = None
        threading.Thread(target=self._run, name="valhalla-blocklist", daemon=True).start()

    def verdict(
        self,
        method: str,
        path: str,
        address: str | None,
        principal: Principal | None,
        headers: Mapping[bytes, bytes],
        *,
        proxied: bool,
    ) -> Problem | None:
        """Return why the caller is refused."""
        del proxied
        agent = headers.get(b"user-agent")
        found = self._refused(
            method, path, address, principal, None if agent is None else agent[:500].decode("latin-1")
        )
        self.refused += found is not None
        return found

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        """Return why such a request would be refused, and count nothing."""
        return self._refused(method, path, address, principal, None)

    def stop(self) -> None:
        """Follow no longer; what is held stays."""
        self._stop.set()

    def _refused(
        self, method: str, path: str, address: str | None, principal: Principal | None, agent: str | None
    ) -> Problem | None:
        if path in _PROBES:
            return None
        owner, key = (None, None) if principal is None else (principal.owner, principal.id)
        with self._lock:
            found = decide(self._index, Facts(method, path, address, owner, key, agent), self._now())
        return None if found is None else Blocked()

    def _run(self) -> None:
        backoff = Backoff(0.2, 5.0)
        with self._client() as client:
            while not self._stop.is_set():
                began = time.monotonic()
                failure = self._turn(client)
                if failure is not None and failure != self.error:
                    _log.warning("the blocklist is not followed; what it told last holds", reason=failure)
                self.error = failure
                if failure is not None:
                    self._stop.wait(backoff.next())
                    continue
                backoff.reset()
                if time.monotonic() - began < 0.02:
                    # a plane that is about to stop lets nobody wait
                    self._stop.wait(0.02)

    def _turn(self, client: httpx.Client) -> str | None:
        import httpx

        try:
            if self.revision is None:
                self._load(client)
            else:
                page = self._ask(client, since=self.revision, wait=_WAIT)
                if not page.known:
                    self._load(client)
                else:
                    self._apply(self._index, page.rules)
                    self.revision = page.revision
        except httpx.HTTPStatusError as error:
            return f"it answers {error.response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    def _load(self, client: httpx.Client) -> None:
        """Read the whole list beside the one that holds, and put it in place."""
        index, after, revision = Index(), "", None
        while True:
            page = self._ask(client, after=after)
            revision = page.revision if revision is None else revision
            self._apply(index, page.rules)
            if page.next is None:
                break
            after = page.next
        with self._lock:
            self._index = index
        self.revision = revision
        self.loaded.set()

    def _ask(self, client: httpx.Client, **query: Any) -> _Page:
        answer = client.get(_PATH, params=query)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=_Page)

    def _apply(self, index: Index, lines: list[_Line]) -> None:
        for line in lines:
            action: Any = line.action
            kind: Any = line.type
            try:
                with self._lock:
                    if line.until is None:
                        index.remove(action, kind, line.value)
                    else:
                        index.put(action, kind, line.value, min(line.until, FOREVER))
            except (Invalid, ValueError, KeyError):
                # a condition, or a rule of a newer release, must not stop the others
                continue
