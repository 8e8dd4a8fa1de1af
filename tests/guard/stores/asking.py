"""What the tests of every store ask for: holds and limits."""

from __future__ import annotations

from typing import Any

from valhalla.guard.contracts import Hold, Step, Take
from valhalla.guard.governor import Limit

HOLD = Hold((Step(2, "finance"),), 3600.0, 20, b"\x00arguments", '{"order": "A-1"}')


def limit(text: str, **fields: Any) -> Limit:
    return Limit.parse(text, **fields)


def take(*limits: Limit, resource: str = "payment", **fields: Any) -> tuple[Take, ...]:
    return (Take(resource, limits=limits, **fields),)
