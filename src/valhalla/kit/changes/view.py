"""What the hot path reads: a value derived from a snapshot, rebuilt when it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from valhalla.kit.changes.snapshot import Snapshot
from valhalla.kit.log import get_logger

V = TypeVar("V")

log = get_logger("changes")


class View(Generic[V]):
    """``value`` is a plain attribute: reading it costs no query, no lock and no call."""

    __slots__ = ("_build", "failed", "value")

    value: V

    def __init__(self, build: Callable[[Snapshot[Any]], V], snapshot: Snapshot[Any]) -> None:
        self._build = build
        self.failed = False
        self.value = build(snapshot)

    def rebuild(self, snapshot: Snapshot[Any]) -> None:
        """Derive the value anew; if that fails the old one stays and ``failed`` says so."""
        try:
            value = self._build(snapshot)
        except Exception:
            self.failed = True
            log.exception("a view keeps its old value", registry=snapshot.registry, revision=snapshot.revision)
            return
        self.failed = False
        self.value = value
