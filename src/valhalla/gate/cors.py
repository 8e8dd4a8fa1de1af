"""Which other origins may read answers (CORS, of the Fetch standard). Keys travel in a header, not in cookies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from valhalla.gate.contracts import Header

_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_EXPOSED: Final = b"X-Correlation-ID, traceparent, Location, ETag, Retry-After, RateLimit, RateLimit-Policy, Link"
_VARY: Final = (b"vary", b"Origin")
_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, \t-]{1,1000}")


class Cors:
    """The origins that a setting allows; ``*`` allows all."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode("latin-1", "replace") for origin in origins)

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the headers of an answer to ``origin``; a cache must keep answers to other origins apart."""
        if b"*" in self._origins:
            return ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED))
        if origin is None or origin not in self._origins:
            return (_VARY,)
        return ((b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED), _VARY)

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> tuple[Header, ...] | None:
        """Return the answer to a browser's question in advance, ``None`` if this is not one of an allowed origin."""
        origin = headers.get(b"origin")
        if method != "OPTIONS" or origin is None or b"access-control-request-method" not in headers:
            return None
        if b"*" not in self._origins and origin not in self._origins:
            return None
        wanted = headers.get(b"access-control-request-headers", b"")
        allowed = wanted if _NAMES.fullmatch(wanted) else b"Authorization, Content-Type"
        return (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", allowed),
            (b"access-control-max-age", b"600"),
        )
