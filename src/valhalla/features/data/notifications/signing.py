"""Signatures as Standard Webhooks 1.0 has them: v1 (HMAC-SHA256) and v1a (ed25519). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

PREFIX: Final = "whsec_"
PUBLIC: Final = "whpk_"
_BYTES: Final = 32


def new_secret() -> str:
    """Return a fresh symmetric secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def raw(secret: str) -> bytes:
    """Return the bytes of a secret.

    Raises:
        ValueError: it is not ``whsec_`` and base64 of 24 to 64 bytes.
    """
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing secret is whsec_ and base64") from error
    if not secret.startswith(PREFIX) or not 24 <= len(found) <= 64:
        raise ValueError("a signing secret is whsec_ and base64 of 24 to 64 bytes")
    return found


def signing_key(seed: bytes) -> SigningKey:
    """Return the ed25519 key of 32 secret bytes."""
    return SigningKey(seed)


def public(key: SigningKey) -> str:
    """Return what receivers verify v1a with: ``whpk_…``."""
    return PUBLIC + base64.b64encode(bytes(key.verify_key)).decode()


@dataclass(frozen=True, slots=True)
class Signer:
    """What one channel signs with; several secrets while one of them is being replaced."""

    secrets: tuple[bytes, ...] = ()
    keys: tuple[SigningKey, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str], keys: Sequence[SigningKey] = ()) -> Signer:
        """Read secrets as they are shown."""
        return cls(tuple(map(raw, texts)), tuple(keys))

    def sign(self, message: str, timestamp: int, body: bytes) -> str:
        """Return the ``webhook-signature`` of a body that is sent at ``timestamp``, in seconds."""
        signed = b"%s.%d.%s" % (message.encode(), timestamp, body)
        parts = ["v1," + _base64(hmac.digest(secret, signed, hashlib.sha256)) for secret in self.secrets]
        parts += ["v1a," + _base64(key.sign(signed).signature) for key in self.keys]
        return " ".join(parts)


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
