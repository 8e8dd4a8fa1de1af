"""What travels with one piece of work without being passed: the correlation id."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

correlation_id: Final[ContextVar[str | None]] = ContextVar("valhalla_correlation_id", default=None)
