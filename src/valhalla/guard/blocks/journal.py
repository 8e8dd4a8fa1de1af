"""The bounded log of a block: what happened, by name, without secrets."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from datetime import UTC, datetime
from typing import Any, Final

from valhalla.kernel.clock import isoformat
from valhalla.kit.redact import redact, text

NAMES: Final = 1000
"""How many names are remembered; the one that was silent longest goes first."""
ENTRIES: Final = 1000
"""How many entries each name keeps, the newest."""


class Journal:
    """Entries by name. ``read`` gives copies: what callers do to them changes nothing here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()

    def add(self, name: str, **entry: Any) -> None:
        """Write an entry; the instant is added and secrets are taken out."""
        line = {"timestamp": isoformat(datetime.now(UTC)), **redact(entry)}
        with self._lock:
            entries = self._entries.setdefault(name, deque(maxlen=ENTRIES))
            self._entries.move_to_end(name)
            entries.append(line)
            if len(self._entries) > NAMES:
                self._entries.popitem(last=False)

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of a name, oldest first."""
        with self._lock:
            return [dict(entry) for entry in self._entries.get(name, ())]

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """Return all entries by name."""
        with self._lock:
            return {name: [dict(entry) for entry in entries] for name, entries in self._entries.items()}


def shown(values: object) -> str:
    """Return arguments as a log tells them: redacted, short."""
    return text(str(redact(values)), limit=500)
