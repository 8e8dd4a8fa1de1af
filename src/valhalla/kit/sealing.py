"""Secrets at rest: sealed with a key that derives from the cell key, a purpose and a name, so none is stored.

XSalsa20-Poly1305: what was sealed for one name opens as no other's, nor after a change.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, Generic, TypeVar

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey

T = TypeVar("T", bound=msgspec.Struct)
MASK: Final = "***"
"""What is shown in the place of a secret; sent back, it means the one that is there."""


class Unopened(Exception):  # noqa: N818 - it is what a box remains
    """It was sealed by another installation or under another name, or was changed."""


class Boxes:
    """Seals bytes, each under a name."""

    def __init__(self, cell: CellKey, purpose: str) -> None:
        """``purpose`` is stored nowhere: with another one nothing that was sealed opens any more."""
        self._cell = cell
        self._purpose = purpose

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return what only this installation can open, and only under this name."""
        return bytes(self._box(name).encrypt(secret))

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            Unopened: not here, or not under this name.
        """
        try:
            return self._box(name).decrypt(sealed)
        except (CryptoError, ValueError) as error:
            raise Unopened from error

    def _box(self, name: str) -> SecretBox:
        return SecretBox(self._cell.derive(self._purpose, name))


class Sealer(Generic[T]):
    """Seals the secrets of a registry's records as text, which stands in the record."""

    def __init__(self, cell: CellKey, purpose: str, kind: type[T], noun: str) -> None:
        """``noun`` is what problems call such a record."""
        self._boxes = Boxes(cell, purpose)
        self._kind = kind
        self._noun = noun

    def seal(self, name: str, secrets: T) -> str:
        """Return the secrets as text that only this installation can open."""
        return base64.b64encode(self._boxes.seal(name, msgspec.json.encode(secrets))).decode()

    def open(self, name: str, sealed: str) -> T:
        """Return what was sealed.

        Raises:
            Misconfigured: it was sealed by another installation, for another record, or was changed.
        """
        try:
            return msgspec.json.decode(self._boxes.open(name, base64.b64decode(sealed)), type=self._kind)
        except (Unopened, binascii.Error, ValueError, msgspec.DecodeError) as error:
            raise Misconfigured(
                f"the secrets of the {self._noun} '{name}' were sealed with another cell key",
                help=f"Set the secrets of the {self._noun} again, or start with the cell key that it was made with.",
                setting="cell_key",
            ) from error
