"""The gate's blocklist: makes facts of a request, and refuses it if a rule holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from valhalla.features.security.blocklist.contracts import Facts
from valhalla.features.security.blocklist.errors import Blocked
from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.matching import decide
from valhalla.features.security.blocklist.recent import Recent
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem

# probes are how an orchestrator knows that we live: a rule must not make it kill us
_PROBES: Final = frozenset({"/live", "/livez", "/ready", "/readyz"})
_asking: Final[ContextVar[Facts | None]] = ContextVar("valhalla_blocklist_asking", default=None)


def asking() -> Facts | None:
    """Return the facts of the request that this context serves: whoever writes a rule must not lock himself out."""
    return _asking.get()


class Doorman:
    """Refuses who is blocked. ``country`` and ``asn`` name the headers in which trusted proxies say where from."""

    def __init__(
        self,
        keeper: Keeper,
        hits: Hits,
        recent: Recent,
        now: Callable[[], datetime],
        *,
        country: str | None = None,
        asn: str | None = None,
    ) -> None:
        self._keeper = keeper
        self._hits = hits
        self._recent = recent
        self._now = now
        self._country = None if country is None else country.lower().encode()
        self._asn = None if asn is None else asn.lower().encode()

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
        if path in _PROBES:
            return None
        agent = headers.get(b"user-agent")
        facts = Facts(
            method,
            path,
            address,
            None if principal is None else principal.owner,
            None if principal is None else principal.id,
            None if agent is None else agent[:500].decode("latin-1"),
            self._country_in(headers) if proxied and self._country is not None else None,
            self._asn_in(headers) if proxied and self._asn is not None else None,
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
        refused = path not in _PROBES and decide(self._keeper.index, facts, self._now().timestamp()) is not None
        return Blocked() if refused else None

    def _country_in(self, headers: Mapping[bytes, bytes]) -> str | None:
        value = headers.get(self._country or b"", b"").decode("latin-1").strip().upper()
        return value if len(value) == 2 and value.isalpha() else None

    def _asn_in(self, headers: Mapping[bytes, bytes]) -> int | None:
        value = headers.get(self._asn or b"", b"").decode("latin-1").strip().upper().removeprefix("AS")
        return int(value) if len(value) <= 10 and value.isascii() and value.isdigit() else None
