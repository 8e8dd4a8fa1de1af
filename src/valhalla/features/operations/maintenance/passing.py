"""Which requests pass while writes are closed: pure.

A request that reads passes and stays read-only in the database, whatever its route does. Only routes that declare it
(``kit.http.while_closed``), and who holds ``maintenance:bypass`` by name, may write.
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import parse_qsl

from valhalla.kernel.principal import Principal
from valhalla.kit.http import WhileClosed

Verdict = Literal["read", "write", "refuse"]
BYPASS: Final = "maintenance:bypass"
# admin includes every scope, but nobody writes on through a freeze unawares: this one is given by name
_BYPASSES: Final = frozenset({BYPASS, "maintenance:*"})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})


def judge(method: str, query: bytes, principal: Principal | None, declared: WhileClosed | None) -> Verdict:
    """Say what a request may do while writes are closed; ``declared`` is what its route says."""
    if query and is_dry(query):
        return "read"
    if method in READING:
        # a GET that writes what must go on, such as a sign of life, says so, too
        return "write" if declared == "write" else "read"
    if bypasses(principal):
        return "write"
    return declared or "refuse"


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
