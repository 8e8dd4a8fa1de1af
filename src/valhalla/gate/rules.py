"""The gate's pure decisions."""

from __future__ import annotations

import re
from typing import Final

from valhalla.kernel.ids import new_id

_CORRELATION: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
# answered without a key: liveness, the API's description, and the pages that problems link to
_PUBLIC: Final = frozenset({"/", "/live", "/ready", "/health", "/metrics", "/docs", "/openapi.json"})


def is_public(path: str) -> bool:
    """Say whether a path is answered without a key."""
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
