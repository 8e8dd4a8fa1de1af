"""The gate's blocklist: makes facts of a request, and refuses it if a rule holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from valhalla.features.security.blocklist.contracts import PROBES, Facts
from valhalla.features.security.blocklist.errors import Blocked
from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.matching import decide
from valhalla.features.security.blocklist.recent import Recent
from valhalla.features.security.blocklist.whence import Whence
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem

_asking: Final[ContextVar[Facts | None]] = ContextVar("valhalla_blocklist_asking", default=None)


def asking() -> Facts | None:
    """Return the facts of the request that this context serves: whoever writes a rule must not lock himself out."""
    return _asking.get()


class Doorman:
    """Refuses who is blocked; of ``whence`` a request comes is what trusted proxies say."""

    def __init__(
        self,
        keeper: Keeper,
        hits: Hits,
        recent: Recent,
        now: Callable[[], datetime],
        whence: Whence,
    ) -> None:
        self._keeper = keeper
        self._hits = hits
        self._recent = recent
        self._now = now
        self._whence = whence

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
        if path in PROBES:
            return None
        agent = headers.get(b"user-agent")
        facts = Facts(
            method,
            path,
            address,
            None if principal is None else principal.owner,
            None if principal is None else principal.id,
            None if agent is None else agent[:500].decode("latin-1"),
            self._whence.country(headers) if proxied else None,
            self._whence.asn(headers) if proxied else None,
        )
        _asking.set(facts)
        self._recent.note(facts)
        found = decide(self._keeper.index, facts, self._now().timestamp())
        if found is None:
            return None
        self._hits.mark(found.key)
        return Blocked()

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None:
        """Return why such a request would be refused, and count nothing."""
        owner, key = (None, None) if principal is None else (principal.owner, principal.id)
        facts = Facts(method, path, address, owner, key)
        refused = path not in PROBES and decide(self._keeper.index, facts, self._now().timestamp()) is not None
        return Blocked() if refused else None
