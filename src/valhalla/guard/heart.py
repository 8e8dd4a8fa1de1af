"""Heartbeats: one thread renews the leases of everything this process executes in a durable store."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from valhalla.guard.contracts import CasRequest

if TYPE_CHECKING:
    from valhalla.guard.stores import Store

_EXECUTING: Final = frozenset({"executing"})


@dataclass(slots=True)
class _Beat:
    generation: int
    lease: float
    due: float


class Heart:
    """Renews each lease after a third of it. The thread starts with the first beat and ends with ``close``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._beats: dict[str, _Beat] = {}
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, id_: str, generation: int, lease: float) -> None:
        """Keep the lease of this execution alive."""
        self._beats[id_] = _Beat(generation, lease, time.monotonic() + lease / 3)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="valhalla-guard-heart", daemon=True)
                    self._thread.start()
        elif lease < 3:
            # the thread may sleep longer than this lease lives
            self._wake.set()

    def stop(self, id_: str) -> None:
        """Let it go."""
        self._beats.pop(id_, None)

    def close(self) -> None:
        """End the thread; leases lapse by themselves."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            now = time.monotonic()
            soonest = now + 1.0
            for id_, beat in list(self._beats.items()):
                if beat.due <= now:
                    beat.due = now + beat.lease / (3 if self._renew(id_, beat) else 10)
                soonest = min(soonest, beat.due)
            self._wake.wait(max(0.005, soonest - time.monotonic()))
            self._wake.clear()

    def _renew(self, id_: str, beat: _Beat) -> bool:
        request = CasRequest(id_, _EXECUTING, "executing", None, "heart", generation=beat.generation, lease=beat.lease)
        try:
            self._store.cas(request)
        except Exception:  # noqa: BLE001 - a store that is away is asked again; the fence holds meanwhile
            return False
        return True


class NoHeart:
    """For stores whose rows die with the process: the process is the lease."""

    def start(self, id_: str, generation: int, lease: float) -> None:
        """Nothing has to be renewed."""

    def stop(self, id_: str) -> None:
        """Nothing was started."""

    def close(self) -> None:
        """Nothing runs."""
