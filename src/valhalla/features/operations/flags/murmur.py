"""MurmurHash3 x86 32 with seed 0, in plain Python: buckets must not depend on a library that may change."""

from __future__ import annotations

from struct import unpack
from typing import Final

_M: Final = 0xFFFFFFFF


def murmur3(data: bytes) -> int:
    """Return the unsigned hash of ``data``."""
    length = len(data)
    blocks = length >> 2
    hashed = 0
    for k in unpack(f"<{blocks}I", data[: blocks << 2]):
        k = k * 0xCC9E2D51 & _M  # noqa: PLW2901 - the published form of the algorithm
        k = ((k << 15 | k >> 17) & _M) * 0x1B873593 & _M  # noqa: PLW2901
        hashed ^= k
        hashed = ((hashed << 13 | hashed >> 19) * 5 + 0xE6546B64) & _M
    if length & 3:
        k = int.from_bytes(data[blocks << 2 :], "little") * 0xCC9E2D51 & _M
        hashed ^= ((k << 15 | k >> 17) & _M) * 0x1B873593 & _M
    hashed ^= length
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & _M
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & _M
    return hashed ^ hashed >> 16
