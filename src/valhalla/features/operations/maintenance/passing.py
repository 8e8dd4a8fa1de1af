"""Which requests pass while writes are closed: pure.

A request that reads passes and stays read-only in the database, whatever its route does. Only those of the table, and
who holds ``maintenance:bypass`` by name, may write.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl

from valhalla.kernel.principal import Principal

Verdict = Literal["read", "write", "refuse"]
BYPASS: Final = "maintenance:bypass"
# admin includes every scope, but nobody writes on through a freeze unawares: this one is given by name
_BYPASSES: Final = frozenset({BYPASS, "maintenance:*"})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})


class Way(NamedTuple):
    """Writes that pass all the same. ``scope`` is what the caller must hold, ``None`` where the route knows its own."""

    methods: frozenset[str]
    path: re.Pattern[str]
    scope: str | None

    def lets(self, method: str, path: str, principal: Principal | None) -> bool:
        """Say whether a request goes this way."""
        if method not in self.methods or self.path.fullmatch(path) is None:
            return False
        return self.scope is None or (principal is not None and principal.allows(self.scope))


def _way(methods: str, path: str, scope: str | None) -> Way:
    return Way(frozenset(methods.split()), re.compile(path), scope)


_ONE: Final = r"[^/]+"
WAYS: Final = (
    # the way out
    _way("POST PUT PATCH DELETE", r"/system/maintenance(/.*)?", "maintenance:write"),
    # who must not come in any more, and who may
    _way("DELETE", rf"/system/api-clients/{_ONE}", "keys:write"),
    _way("POST", rf"/system/api-clients/{_ONE}/deactivate", "keys:write"),
    # sessions, and what its pages send: that is judged by its own path when the console asks for it
    _way("POST", r"/console/.+", None),
    # what happens meanwhile is written down
    _way("POST", r"/system/logs", "logs:write"),
    _way("POST", r"/v1/(traces|logs|metrics)", "telemetry"),
    _way("POST", r"/system/security/honeypots/events(/.*)?", "honeypots:ingest"),
    _way("POST", r"/system/security/mode", "policies:write"),
    _way("POST", r"/system/admin/actions/(maintenance\.set-mode|key\.(revoke|deactivate))", "operations:write"),
    # decisions that people wait for
    _way("POST", rf"/(api|system)/holds/{_ONE}/(approve|deny|cancel|settle)", "holds:approve"),
    _way("POST", rf"/(system|security)/actions/{_ONE}/(approve|deny|reject)", "actions:approve"),
    _way("POST", rf"/system/alerts/(bulk|{_ONE}/(acknowledge|resolve|silence)|silences)", "alerts:write"),
)
# they ask with a body, and write nothing
_ASKING: Final = re.compile(
    r"/system/(logs/query|rate-limits/test|security/policies/test|routes/match|maintenance/windows/preview|flags/evaluate|flags/[^/]+/evaluate)"
    r"|/ofrep/v1/evaluate/flags(/.*)?"
)


def judge(method: str, path: str, query: bytes, principal: Principal | None) -> Verdict:
    """Say what a request may do while writes are closed."""
    if method in READING or (method == "POST" and _ASKING.fullmatch(path)) or (query and is_dry(query)):
        return "read"
    if bypasses(principal):
        return "write"
    return "write" if any(way.lets(method, path, principal) for way in WAYS) else "refuse"


def bypasses(principal: Principal | None) -> bool:
    """Say whether somebody may write on through a freeze."""
    return principal is not None and not _BYPASSES.isdisjoint(principal.scopes)


def is_dry(query: bytes) -> bool:
    """Say whether a request asks what would change; said twice it says nothing."""
    if b"dry_run" not in query:
        return False
    try:
        said = [value for name, value in parse_qsl(query.decode("latin-1"), max_num_fields=100) if name == "dry_run"]
    except ValueError:
        return False
    return len(said) == 1 and said[0].lower() in _TRUE
