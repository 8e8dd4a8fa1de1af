"""What holds in an environment as one document, or only what differs from what a follower has: made once for all."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final

import msgspec

from valhalla.features.operations.config import rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.kit.changes import Feed, Snapshot

_KEPT: Final = 8
_MADE: Final = 32


class Values:
    """The documents that followers are answered. A follower that is more than some revisions behind gets all of it."""

    def __init__(self, feed: Feed, registry: str) -> None:
        """Follow a registry of entries."""
        self._feed = feed
        self._registry = registry
        self._past: deque[Snapshot[Entry]] = deque(maxlen=_KEPT)
        self._made: OrderedDict[tuple[str | None, int, str], bytes] = OrderedDict()
        feed.subscribe(registry, self._past.append)

    def document(self, environment: str, known: str | None = None) -> bytes:
        """Return ``values``, or ``changed`` and ``removed`` since the revision that is ``known``."""
        now: Snapshot[Entry] = self._feed.snapshot(self._registry)
        before = next((one for one in self._past if str(one.revision) == known), None)
        place = (None if before is None else known, now.revision, environment)
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = msgspec.json.encode(_document(now, before, environment))
            if len(self._made) > _MADE:
                self._made.popitem(last=False)
        return made


def _document(now: Snapshot[Entry], before: Snapshot[Entry] | None, environment: str) -> dict[str, Any]:
    head = {"revision": str(now.revision), "environment": environment}
    if before is None:
        return {**head, "values": {key: rules.value_in(one.value, environment) for key, one in now.records.items()}}
    old = before.records
    # a record that did not change is the same object in both
    changed = {
        key: rules.value_in(one.value, environment) for key, one in now.records.items() if old.get(key) is not one
    }
    return {**head, "changed": changed, "removed": [key for key in old if key not in now.records]}
