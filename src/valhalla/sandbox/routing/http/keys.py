"""Routing keys: what proves that who asks may be sent into a sandbox. They derive, so none is stored. Pure."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from valhalla.kit.cellkey import CellKey

HEADER: Final = "valhalla-routing-key"
_ID: Final = 16
# letters and digits alone: it goes unchanged through headers, baggage, addresses and shells
_FORM: Final = re.compile(r"[a-z0-9]{16}[a-z2-7]{32}")


def routing_key(cell: CellKey, sandbox_id: str) -> str:
    """Return the key of a sandbox: its id and 160 bits that only this installation can make."""
    return sandbox_id + base64.b32encode(cell.derive("ingress.routing-key", sandbox_id)[:20]).decode().lower()


def sandbox_of(cell: CellKey, key: str) -> str | None:
    """Return the id of the sandbox whose key this is, None if it is nobody's. Ids are never used twice."""
    if _FORM.fullmatch(key) is None:
        return None
    sandbox = key[:_ID]
    return sandbox if hmac.compare_digest(key, routing_key(cell, sandbox)) else None
