"""The blocklist of a control plane as another application enforces it: a thread follows it, requests only look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from valhalla.features.security.blocklist.contracts import PROBES, Facts
from valhalla.features.security.blocklist.errors import Blocked
from valhalla.features.security.blocklist.matching import decide
from valhalla.features.security.blocklist.whence import ORIGINS, Origin, Whence
from valhalla.gate.connected.enforced import Enforced, Lack, Line
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff

if TYPE_CHECKING:
    import httpx

_log = get_logger("connected")
_PATH: Final = "/system/snapshot/blocklist"
_WAIT: Final = 25.0
_UNNAMED: Final = (
    "no header says it: name it with Plane({0}_header=…), or for all with the control plane's setting {0}_header"
)
_UNSEEN: Final = (
    "none of {} requests bore {} from a trusted proxy: let the proxy set it, name the proxy in trusted_proxies of"
    " install(), and start uvicorn with --no-proxy-headers, or it hides the proxy"
)


class _Page(msgspec.Struct, frozen=True):
    revision: int
    known: bool
    rules: list[Line]
    next: str | None
    # of a control plane that is older they are not there
    country_header: str | None = None
    asn_header: str | None = None


class Blocking:
    """``revision`` is None until the whole list was read once; what was read holds on while nobody answers."""

    def __init__(
        self,
        client: Callable[[], httpx.Client],
        *,
        whence: Whence | None = None,
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``client`` makes who asks; ``now`` in seconds since the epoch; ``changed`` hears of what may be lacking.

        ``whence`` names headers that are not the control plane's.
        """
        self._client = client
        self._own = whence or Whence()
        self._changed = changed
        self._now = now
        self._stop = threading.Event()
        self._enforced = Enforced()
        self._whence = self._own
        self._seen: set[Origin] = set()
        self._blind: dict[Origin, int] = dict.fromkeys(ORIGINS, 0)
        self._told: list[Lack] = []
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
        """Return why the caller is refused; ``proxied``: a trusted proxy handed the request on."""
        agent = headers.get(b"user-agent")
        owner, key = (None, None) if principal is None else (principal.owner, principal.id)
        facts = Facts(method, path, address, owner, key, None if agent is None else agent[:500].decode("latin-1"))
        if needed := self._enforced.needed:
            if path not in PROBES:
                self._note(needed, headers, proxied=proxied)
            if proxied:
                whence = self._whence
                facts = facts._replace(country=whence.country(headers), asn=whence.asn(headers))
        found = self._refused(facts)
        self.refused += found is not None
        return found

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        """Return why such a request would be refused, and count nothing."""
        owner, key = (None, None) if principal is None else (principal.owner, principal.id)
        return self._refused(Facts(method, path, address, owner, key))

    def stop(self) -> None:
        """Follow no longer; what is held stays."""
        self._stop.set()

    def lacks(self) -> list[Lack]:
        """Return which rules are not enforced here, and why; nothing is left out in silence."""
        enforced, found = self._enforced, list[Lack]()
        for what in ORIGINS:
            if rules := enforced.rules_by(what):
                name = self._whence.names[what]
                if name is None:
                    found.append(Lack(what, rules, _UNNAMED.format(what)))
                elif self._blind[what] and what not in self._seen:
                    found.append(Lack(what, rules, _UNSEEN.format(self._blind[what], name)))
        return [*found, *enforced.unread()]

    def _note(self, needed: frozenset[Origin], headers: Mapping[bytes, bytes], *, proxied: bool) -> None:
        for what in needed - self._seen:
            if proxied and self._whence.bears(what, headers):
                self._seen.add(what)
                self._changed()
                continue
            self._blind[what] += 1
            if self._blind[what] == 1:
                self._changed()

    def _refused(self, facts: Facts) -> Problem | None:
        if facts.path in PROBES:
            return None
        enforced = self._enforced
        with enforced.lock:
            found = decide(enforced.index, facts, self._now())
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
                self._tell()
                if time.monotonic() - began < 0.02:
                    # a plane that is about to stop lets nobody wait
                    self._stop.wait(0.02)

    def _tell(self) -> None:
        lacks = self.lacks()
        if [each[:2] for each in lacks] != [each[:2] for each in self._told]:
            for lack in lacks:
                _log.error(
                    "rules of the blocklist are not enforced here", what=lack.what, rules=lack.rules, why=lack.why
                )
            self._changed()
        self._told = lacks

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
                    self._enforced.apply(page.rules)
                    self.revision = page.revision
        except httpx.HTTPStatusError as error:
            return f"it answers {error.response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError) as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    def _load(self, client: httpx.Client) -> None:
        """Read the whole list beside the one that holds, and put it in place."""
        enforced, after, revision = Enforced(), "", None
        while True:
            page = self._ask(client, after=after)
            revision = page.revision if revision is None else revision
            enforced.apply(page.rules)
            if page.next is None:
                break
            after = page.next
        self._enforced = enforced
        self.revision = revision
        self.loaded.set()

    def _ask(self, client: httpx.Client, **query: Any) -> _Page:
        answer = client.get(_PATH, params=query)
        answer.raise_for_status()
        page = msgspec.json.decode(answer.content, type=_Page)
        own = self._own.names
        self._whence = Whence(own["country"] or page.country_header, own["asn"] or page.asn_header)
        return page
