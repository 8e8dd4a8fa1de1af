"""Entries of the ledger as the API shows them: all of them, or those of one thing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from valhalla.kit.http import WireModel
from valhalla.kit.ledger import Entry


class AuditEntryOut(WireModel):
    """One thing that happened."""

    id: int
    at: datetime
    actor: str
    action: str
    details: dict[str, Any]
    correlation_id: str | None
    seq: int | None

    @classmethod
    def each(cls, entries: Sequence[Entry]) -> list[Self]:
        """Return the models of entries."""
        return [cls(**{name: getattr(entry, name) for name in cls.model_fields}) for entry in entries]


class AuditPage(WireModel):
    """One page of what happened, newest first."""

    items: list[AuditEntryOut]
    next: str | None


class LedgerEntryOut(AuditEntryOut):
    """One row of the ledger."""

    kind: str
    subject: str


class LedgerPage(WireModel):
    """One page of the ledger, newest first."""

    items: list[LedgerEntryOut]
    next: str | None
