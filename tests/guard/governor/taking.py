"""Limits of both kinds, and whoever takes all that they give."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from valhalla.guard.governor import Governor, Limit

Kind = Literal["exact", "gcra"]


KINDS = pytest.mark.parametrize("kind", ["exact", "gcra"])


def limit_of(kind: Kind, capacity: int = 10, **more: Any) -> Limit:
    """Make a limit that hands out ``capacity`` at once, in ten seconds."""
    burst = capacity if kind == "gcra" else None
    return Limit(**{"capacity": capacity, "window": 10.0, "kind": kind, "burst": burst, **more})


def drained(governor: Governor, resource: str = "mail", subject: str = "") -> int:
    """Take until refused; return how many were given."""
    return next(count for count in range(10_000) if not governor.take(resource, subject).allowed)
