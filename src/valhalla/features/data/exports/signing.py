"""Addresses that give one file to whoever has them, for a while: an HMAC over file and end."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from valhalla.features.data.exports.errors import BadSignature
from valhalla.kit.cellkey import CellKey

PREFIX: Final = "/downloads/exports/"
"""Answered without a key: the address is one."""


class Signer:
    """Makes and checks addresses; every process of an installation takes those of the others."""

    def __init__(self, cell: CellKey) -> None:
        self._key = cell.derive("exports.links")

    def path(self, id_: str, name: str, now: datetime, lasting: timedelta) -> str:
        """Return the address, from the root."""
        expires = int((now + lasting).timestamp())
        return f"{PREFIX}{id_}/{quote(name)}?expires={expires}&signature={self._sign(id_, name, expires)}"

    def check(self, id_: str, name: str, expires: int, signature: str, now: datetime) -> None:
        """Accept an address.

        Raises:
            BadSignature: it was not made here, or its time is over.
        """
        expected = self._sign(id_, name, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise BadSignature
        if expires <= now.timestamp():
            raise BadSignature("the time of this address is over")

    def _sign(self, id_: str, name: str, expires: int) -> str:
        said = "\x00".join((id_, name, str(expires))).encode("utf-8", "replace")
        return hmac.digest(self._key, said, hashlib.sha256).hex()
