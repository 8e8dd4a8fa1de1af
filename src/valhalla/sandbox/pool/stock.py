"""The slots that one process has reserved for its own claims, so that a claim knows its slot beforehand.

A reservation is no claim: it is a lease that another process may take over when it runs out, and the claim checks it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from valhalla.sandbox.slices.contracts import Names

Kind = tuple[str, str]
"""Template name and version."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A complete, unclaimed sandbox."""

    names: Names
    template: str
    version: str


class Stock:
    """Reserved slots by template; first in, first out."""

    def __init__(self) -> None:
        self._slots: dict[Kind, deque[Slot]] = {}
        self.claimed = 0
        self.missed = 0

    def take(self, template: str, version: str) -> Slot | None:
        """Return a slot of exactly this template version, or None when there is none in stock."""
        slots = self._slots.get((template, version))
        if not slots:
            self.missed += 1
            return None
        self.claimed += 1
        return slots.popleft()

    def give_back(self, slot: Slot) -> None:
        """Return a slot that was not claimed."""
        self._slots.setdefault((slot.template, slot.version), deque()).appendleft(slot)

    def add(self, slots: Iterable[Slot]) -> None:
        """Add freshly reserved slots."""
        for slot in slots:
            self._slots.setdefault((slot.template, slot.version), deque()).append(slot)

    def count(self, template: str, version: str) -> int:
        """Return how many slots of a template version are in stock."""
        return len(self._slots.get((template, version), ()))

    def ids(self) -> list[str]:
        """Return the ids of everything in stock."""
        return [slot.names.id for slots in self._slots.values() for slot in slots]

    def forget(self, ids: Iterable[str]) -> None:
        """Drop slots whose reservation is lost."""
        gone = set(ids)
        for kind, slots in self._slots.items():
            self._slots[kind] = deque(slot for slot in slots if slot.names.id not in gone)
