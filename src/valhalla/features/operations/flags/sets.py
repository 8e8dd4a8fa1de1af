"""The flag set of each environment, kept as long as nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from valhalla.features.operations.flags.contracts import Flag, SharedRule
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.kit.changes import Snapshot

_MOST: Final = 64


class FlagSets:
    """Makes sets from the snapshots of the flags and of the shared rules."""

    def __init__(
        self,
        flags: Callable[[], Snapshot[Flag]],
        shared: Callable[[], Snapshot[SharedRule]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._flags = flags
        self._shared = shared
        self._now = now
        self._made: dict[str, tuple[Snapshot[Flag], Snapshot[SharedRule], FlagSet]] = {}

    def of(self, environment: str) -> FlagSet:
        """Return the set as it is now; what did not change is not compiled again."""
        flags, shared = self._flags(), self._shared()
        held = self._made.get(environment)
        if held is not None and held[0] is flags and held[1] is shared:
            return held[2]
        made = FlagSet(
            {key: (record.value, record.version) for key, record in flags.records.items()},
            environment=environment,
            shared={key: record.value.rule for key, record in shared.records.items()},
            revision=f"{flags.revision}.{shared.revision}",
            before=None if held is None else held[2],
            now=self._now,
        )
        if held is None and len(self._made) >= _MOST:
            # names are the caller's to choose: they must not fill our memory
            del self._made[next(iter(self._made))]
        self._made[environment] = (flags, shared, made)
        return made

    def drafted(self, environment: str, draft: Flag) -> FlagSet:
        """Return a set of its own that has ``draft`` in the place of the flag of its key."""
        shared = self._shared()
        flags = {key: (record.value, record.version) for key, record in self._flags().records.items()}
        return FlagSet(
            {**flags, draft.key: (draft, 0)},
            environment=environment,
            shared={key: record.value.rule for key, record in shared.records.items()},
            now=self._now,
        )

    def made(self) -> list[FlagSet]:
        """Return the sets that were asked for."""
        return [held[2] for held in self._made.values()]
