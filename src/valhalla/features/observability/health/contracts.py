"""The values of health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

Phase = Literal["starting", "serving", "stopping"]
"""Where a control plane is in its life; it is ready only while it serves."""

Numbers = Callable[[], Awaitable[Mapping[str, float]]]
"""Counts what there is to count, for one sample."""


class Sample(msgspec.Struct, frozen=True):
    """What was counted at one instant by one process; ``source`` is its host."""

    at: datetime
    source: str
    numbers: Mapping[str, Any]
