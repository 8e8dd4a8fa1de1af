"""The gate's pure decisions."""

from __future__ import annotations

import re
from typing import Final

from valhalla.kernel.ids import new_id

_CORRELATION: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
# answered without a key: liveness, the API's description, and the pages that problems link to
_PUBLIC: Final = frozenset({"/", "/live", "/ready", "/health", "/metrics", "/docs", "/openapi.json"})


def is_public(path: str) -> bool:
    """Say whether a path is answered without a key. Any other is refused first, whether it exists or not."""
    return path in _PUBLIC or path.startswith("/problems/")


def correlation(header: bytes | None) -> str:
    """Return the client's correlation id if it is well-formed, else a fresh one (it goes into logs and headers)."""
    if header is not None:
        text = header.decode("latin-1")
        if _CORRELATION.fullmatch(text):
            return text
    return new_id()


def bearer(header: bytes | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750), or None."""
    if header is None:
        return None
    scheme, _, token = header.decode("latin-1").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= 256 else None


def holds_nul(path: str, query: bytes) -> bool:
    """Say whether a decoded path or a raw query holds a NUL, which no backend can store or look for."""
    return "\x00" in path or b"%00" in query or b"\x00" in query


def declared_length(header: bytes | None) -> int | None:
    """Return the Content-Length, None for one that is absent or no number (the body is counted in any case)."""
    return int(header) if header is not None and len(header) <= 18 and header.isdigit() else None
