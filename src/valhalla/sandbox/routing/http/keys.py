"""Routing keys: what proves that who asks may be sent into a sandbox. They derive, so none is stored. Pure."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from valhalla.kit.cellkey import CellKey

HEADER: Final = "valhalla-routing-key"
_CELL: Final = 6
_ID: Final = 16
# letters and digits alone: it goes unchanged through headers, baggage, addresses and shells
_FORM: Final = re.compile(r"[a-z2-7]{6}[a-z0-9]{16}[a-z2-7]{32}")


def routing_key(cell: CellKey, sandbox_id: str) -> str:
    """Return the key of a sandbox: installation, id, and 160 bits that only this installation can make."""
    proof = base64.b32encode(cell.derive("ingress.routing-key", sandbox_id)[:20]).decode().lower()
    return f"{cell.cell}{sandbox_id}{proof}"


class Keys:
    """Reads the keys of one installation."""

    def __init__(self, cell: CellKey) -> None:
        self._cell = cell
        self._name = cell.cell

    def is_ours(self, key: str) -> bool:
        """Say whether a key claims to be of this installation: others' travel in baggage, too."""
        return _FORM.fullmatch(key) is not None and key.startswith(self._name)

    def sandbox(self, key: str) -> str | None:
        """Return the id of the sandbox whose key this is, None if it is nobody's. Ids are never used twice."""
        if not self.is_ours(key):
            return None
        sandbox = key[_CELL : _CELL + _ID]
        return sandbox if hmac.compare_digest(key, routing_key(self._cell, sandbox)) else None
