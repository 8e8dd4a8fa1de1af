"""The form in which a control plane hands its registries on; who takes them reads the same types."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Row(msgspec.Struct, Generic[T], frozen=True):
    """One record."""

    key: str
    updated_at: datetime
    value: T


class Part(msgspec.Struct, Generic[T], frozen=True):
    """One registry, whole, at its revision."""

    revision: int
    records: list[Row[T]]


class Document(msgspec.Struct, frozen=True):
    """The registries that are newer than what the asker has. ``notice``: seconds that a window is announced before."""

    revision: str
    environment: str
    notice: float
    registries: dict[str, msgspec.Raw] = {}
