"""The egress lock: a block that cannot reach out, and the list of what it tried. See docs/egress.md."""

from __future__ import annotations

from valhalla.guard.egress.contracts import Attempt, Cover, Coverage, Layer
from valhalla.guard.egress.errors import CannotSeal, EgressBlocked, SealMisuse, SealTimeout
from valhalla.guard.egress.seal import Seal, sealed

__all__ = [
    "Attempt",
    "CannotSeal",
    "Cover",
    "Coverage",
    "EgressBlocked",
    "Layer",
    "Seal",
    "SealMisuse",
    "SealTimeout",
    "sealed",
]
