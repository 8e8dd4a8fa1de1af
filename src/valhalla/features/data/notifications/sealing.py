"""Secrets of channels at rest: sealed with a key that derives from the cell key and the channel's name."""

from __future__ import annotations

import base64
import binascii

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from valhalla.features.data.notifications.contracts import Secrets
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey


class Sealer:
    """Seals and opens (XSalsa20-Poly1305). What was sealed for one channel does not open as another's."""

    def __init__(self, cell: CellKey) -> None:
        self._cell = cell

    def seal(self, channel: str, secrets: Secrets) -> str:
        """Return the secrets as text that only this installation can open."""
        return base64.b64encode(self._box(channel).encrypt(msgspec.json.encode(secrets))).decode()

    def open(self, channel: str, sealed: str) -> Secrets:
        """Return what was sealed.

        Raises:
            Misconfigured: it was sealed by another installation, for another channel, or was changed.
        """
        try:
            return msgspec.json.decode(self._box(channel).decrypt(base64.b64decode(sealed)), type=Secrets)
        except (CryptoError, binascii.Error, ValueError, msgspec.DecodeError) as error:
            raise Misconfigured(
                f"the secrets of the notification channel '{channel}' were sealed with another cell key",
                help="Set the channel's secrets again, or start with the cell key that it was made with.",
                setting="cell_key",
            ) from error

    def _box(self, channel: str) -> SecretBox:
        return SecretBox(self._cell.derive("notifications.channel", channel))
