"""The cryptography of the ledger: what an entry's MAC, its link and a checkpoint's signature cover. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from sqlalchemy.engine import RowMapping

from valhalla.kit.cellkey import CellKey
from valhalla.kit.json import canonical
from valhalla.kit.redact import number

GENESIS: Final = bytes(32)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def content(row: Mapping[str, Any] | RowMapping) -> bytes:
    """Return the bytes that stand for what an entry says; the same before it is stored and after it is read."""
    return canonical(
        [
            bytes(row["nonce"]).hex(),
            microseconds(row["at"]),
            row["actor"],
            row["action"],
            row["kind"],
            row["subject"],
            _plain(row["details"]),
            row["correlation_id"],
        ]
    )


def link(prev: bytes, entry_id: int, said: bytes, mac: bytes) -> bytes:
    """Return the hash of an entry in the chain; anybody can recompute it, only the checkpoints need our key."""
    return hashlib.sha256(prev + entry_id.to_bytes(8, "big") + mac + said).digest()


def microseconds(instant: datetime) -> int:
    """Return whole microseconds since 1970, without a detour over floats."""
    return (instant.astimezone(UTC) - _EPOCH) // _MICROSECOND


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(v) for v in cast("list[Any]", value)]
    return value


class Keys:
    """The ledger's three keys, derived from the cell key."""

    __slots__ = ("_mac", "_nonce", "_signing", "_verify")

    def __init__(self, cell: CellKey) -> None:
        self._mac = cell.derive("ledger.mac")
        self._nonce = cell.derive("ledger.nonce")
        self._signing = SigningKey(cell.derive("ledger.sign"))
        self._verify: VerifyKey = self._signing.verify_key

    @property
    def public(self) -> bytes:
        """The ed25519 public key (32 bytes) that checks checkpoints without the cell key."""
        return bytes(self._verify)

    def nonce(self) -> bytes:
        """Return 24 bytes: time, randomness, and a tag that proves them ours.

        Time lets the unique index grow at its end; the tag tells a changed entry (ours, MAC wrong) from a foreign one.
        """
        body = time.time_ns().to_bytes(8, "big")[:6] + secrets.token_bytes(10)
        return body + hmac.digest(self._nonce, body, hashlib.sha256)[:8]

    def is_ours(self, nonce: bytes) -> bool:
        """Say whether ``nonce`` was made here."""
        tag = hmac.digest(self._nonce, nonce[:16], hashlib.sha256)[:8]
        return len(nonce) == 24 and hmac.compare_digest(nonce[16:], tag)

    def mac(self, said: bytes) -> bytes:
        """Authenticate an entry's content."""
        return hmac.digest(self._mac, said, hashlib.sha256)

    def sign(self, seq: int, hash_: bytes, sealed_at: datetime, before: bytes) -> bytes:
        """Sign a checkpoint; it covers the signature of the one ``before`` it, so none can be taken out."""
        return self._signing.sign(_checkpoint(seq, hash_, sealed_at, before)).signature

    def sign_note(self, text: bytes) -> bytes:
        """Sign the text of a note: lines that begin with an origin, which no other thing that we sign does."""
        return self._signing.sign(text).signature

    def signed(self, signature: bytes, seq: int, hash_: bytes, sealed_at: datetime, before: bytes) -> bool:
        """Say whether a checkpoint is genuine and follows ``before``."""
        try:
            self._verify.verify(_checkpoint(seq, hash_, sealed_at, before), signature)
        except (BadSignatureError, ValueError):
            return False
        return True


def _checkpoint(seq: int, hash_: bytes, sealed_at: datetime, before: bytes) -> bytes:
    return canonical(["valhalla.ledger.checkpoint", seq, hash_.hex(), microseconds(sealed_at), before.hex()])
