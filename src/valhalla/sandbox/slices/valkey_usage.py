"""How much of a Valkey server each sandbox takes. Nothing here scans the keyspace.

A sandbox's keys share one hash slot of a clustered server, whose count is kept by the server itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis import exceptions
from redis.crc import key_slot

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.valkey_server import ValkeyServer, read_lines

_SAMPLE: Final = 100
_BATCH: Final = 500
# keys that one look at the sizes may ask about
_BUDGET: Final = 2000
_TOP: Final = 100


class ValkeyUsage:
    """Finds sandboxes that hold too much; remembers where it stopped, so that every one is looked at in its turn."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self._next = 0

    async def full_slots(self, limit: int, live: Iterable[Names]) -> dict[int, int]:
        """Return the hash slots with more than ``limit`` keys and their counts.

        Raises:
            Unavailable: the server cannot be reached.
        """
        if not await self._server.clustered():
            return {}
        try:
            top = await self._server.call(
                "CLUSTER SLOT-STATS", "ORDERBY", "key-count", "LIMIT", _TOP, "DESC"
            )  # Valkey 8, Redis 8.2
        except exceptions.ResponseError:
            slots = sorted({_slot(names) for names in live})
            counts = await self._all([("CLUSTER COUNTKEYSINSLOT", slot) for slot in slots])
            return {slot: count for slot, count in zip(slots, counts, strict=True) if count > limit}
        return {slot: stats[1] for slot, stats in top if stats[1] > limit}

    async def crowded(self, limit: int, live: Sequence[Names]) -> dict[str, int]:
        """Return the ids of sandboxes with more than ``limit`` keys, and how many at least.

        Raises:
            Unavailable: the server cannot be reached.
        """
        full = await self.full_slots(limit, live)
        found: dict[str, int] = {}
        if not full:
            return found
        homes: dict[int, list[Names]] = {}
        for names in live:
            homes.setdefault(_slot(names), []).append(names)
        for slot, count in full.items():
            here = homes.get(slot, [])
            # whose they are need not be asked when one lives here; among several, one has more than its share
            keys: list[bytes] = await self._keys(slot, min(count, limit * len(here) + 1)) if len(here) > 1 else []
            for names in here:
                mine = count if len(here) == 1 else sum(key.startswith(names.key_prefix.encode()) for key in keys)
                if mine > limit:
                    found[names.id] = mine
        return found

    async def heavy(self, limit: int, live: Sequence[Names]) -> dict[str, int]:
        """Return the ids of sandboxes with more than ``limit`` bytes; each call looks at the next few of ``live``.

        Raises:
            Unavailable: the server cannot be reached.
        """
        info = read_lines(await self._server.call("INFO", "memory"))
        # nobody holds more than all do
        if not await self._server.clustered() or int(info["used_memory_dataset"]) <= limit:
            return {}
        found: dict[str, int] = {}
        asked = 0
        for _ in range(len(live)):
            if asked >= _BUDGET:
                break
            names = live[self._next % len(live)]
            self._next += 1
            sample = await self._mine(names, _SAMPLE)
            asked += 1 + len(sample)
            size = await self._bytes(sample)
            if len(sample) == _SAMPLE:
                # only what was counted whole is acted upon
                everything = await self._mine(names, await self._server.call("CLUSTER COUNTKEYSINSLOT", _slot(names)))
                if size / _SAMPLE * len(everything) > limit:
                    size = await self._bytes(everything)
                    asked += len(everything)
            if size > limit:
                found[names.id] = size
        return found

    async def _mine(self, names: Names, most: int) -> list[bytes]:
        prefix = names.key_prefix.encode()
        return [key for key in await self._keys(_slot(names), most) if key.startswith(prefix)]

    async def _keys(self, slot: int, most: int) -> list[bytes]:
        return await self._server.call("CLUSTER GETKEYSINSLOT", slot, most)

    async def _bytes(self, keys: Sequence[bytes]) -> int:
        # a key that is gone by now has no size
        return sum(size or 0 for size in await self._all([("MEMORY USAGE", key) for key in keys]))

    async def _all(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(commands), _BATCH):
            answers += await self._server.call_all(commands[start : start + _BATCH])
        return answers


def is_forbidden(problem: Unavailable) -> bool:
    """Say whether the server is there and only does not let the control plane measure."""
    return isinstance(problem.__cause__, exceptions.NoPermissionError)


def _slot(names: Names) -> int:
    return key_slot(names.key_prefix.encode())
