"""The ed25519 keys of NATS: derived from the cell key, and read as ``nsc`` and ``nk`` print them.

Format: github.com/nats-io/nkeys.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final, Literal

from nacl.signing import SigningKey

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey

Kind = Literal["operator", "account", "user"]

_PREFIXES: Final[dict[Kind, int]] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED: Final = 18 << 3


def _text(raw: bytes) -> str:
    # nkeys end in a CRC-16/XMODEM, which is what crc_hqx computes, little-endian
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _raw(text: str) -> bytes:
    """Return what an nkey's text says, its prefix first; nothing of a text that is none."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        return b""
    return raw[:-2] if binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little") else b""


def is_account_key(text: str) -> bool:
    """Say whether a text is the public key of an account; a mistyped one is not, as its checksum says."""
    raw = _raw(text)
    return len(raw) == 33 and raw[0] == _PREFIXES["account"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An nkey. ``public`` starts with O, A or U; ``seed`` is secret and starts with SO, SA or SU."""

    kind: Kind
    public: str
    seed: str = field(repr=False)
    _signing: SigningKey = field(repr=False, compare=False)

    @classmethod
    def from_raw(cls, kind: Kind, raw: bytes) -> KeyPair:
        """Make the key of 32 secret bytes."""
        prefix, signing = _PREFIXES[kind], SigningKey(raw)
        seed = bytes((_SEED | prefix >> 5, (prefix & 31) << 3)) + raw
        return cls(kind, _text(bytes((prefix,)) + bytes(signing.verify_key)), _text(seed), signing)

    @classmethod
    def derive(cls, cell: CellKey, kind: Kind, purpose: str, *parts: str) -> KeyPair:
        """Return the key of one purpose; it is the same for ever for the same cell and arguments."""
        return cls.from_raw(kind, cell.derive("nats.nkey", kind, purpose, *parts))

    @classmethod
    def from_seed(cls, seed: str) -> KeyPair:
        """Read a seed as ``nsc`` and ``nk`` print it.

        Raises:
            Misconfigured: it is not the seed of an operator, account or user.
        """
        raw = _raw(seed.strip())
        if len(raw) == 34:
            prefix = (raw[0] & 7) << 5 | raw[1] >> 3
            for kind, known in _PREFIXES.items():
                if raw[0] & 0xF8 == _SEED and prefix == known:
                    return cls.from_raw(kind, raw[2:])
        raise Misconfigured("that is not an nkey seed of an operator, account or user", setting="nats")

    def sign(self, data: bytes) -> bytes:
        """Return the ed25519 signature (64 bytes) of ``data``."""
        return self._signing.sign(data).signature
