"""The values of growth control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What one sandbox may hold; 0 is no limit. NATS keeps its own limits, which are the account's."""

    objects: int = 5000
    """Tables, indexes, sequences, views, functions, types… of its schema."""
    postgres_bytes: int = 1024 * _MIB
    """Files of its tables and indexes, or its own database as a whole."""
    valkey_keys: int = 100_000
    valkey_bytes: int = 64 * _MIB


@dataclass(frozen=True, slots=True)
class Excess:
    """A sandbox that holds more than it may, or nearly so, in the words that its owner reads."""

    sandbox_id: str
    what: str
    measured: int
    limit: int

    @property
    def is_over(self) -> bool:
        """Whether it is more than allowed, and not only near."""
        return self.measured > self.limit

    def told(self) -> dict[str, Any]:
        """Return what ledger and events say."""
        return {"what": self.what, "measured": self.measured, "limit": self.limit}

    def __str__(self) -> str:
        return f"quota_exceeded: {self.measured} {self.what}, {self.limit} are allowed"


@dataclass(frozen=True, slots=True)
class Measured:
    """What is remembered of an arena's last exact measurement. ``at``: monotonic seconds.

    ``size``: bytes of the database then, or the fewest since; ``largest``: of the largest sandbox then.
    """

    size: int
    largest: int
    at: float
