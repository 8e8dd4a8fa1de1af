"""Which network holds an address, among a million: a dictionary of small dictionaries.

The upper bits of an address find a slot, a dictionary of the rules below them; its keys number the nodes of the binary
tree under the slot (1, then 2 and 3, …), so one dictionary holds every prefix length, and a rule costs no object of its
own. A slot knows which lengths it has: only those are probed. Nothing here is ever copied or resized as a whole, so a
rule comes or goes without a pause. The garbage collector has nothing to visit: a dictionary of integers is none of its
business, and a single tuple in each would make it walk through all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from valhalla.features.security.blocklist.contracts import FOREVER

# under this key a slot keeps the shifts of the lengths that it has, a bit for each; nodes begin at 1
_SHIFTS: Final = 0
_SHARED: Final = 65_536
_ARRAY: Final = 16

Found = tuple[int, int, int]
"""The network's number, its length, and until when its rule holds (seconds since the epoch)."""


class Networks:
    """Networks of one family, each with the time until which its rule holds."""

    __slots__ = (
        "_array", "_bits", "_low", "_mark", "_mask", "_nodes", "_shapes", "_slot", "_sparse", "_times", "_top", "_wide",
        "count",
    )  # fmt: skip

    def __init__(self, bits: int, top: int) -> None:
        """``bits`` of an address, of which the upper ``top`` find the slot."""
        self._bits = bits
        self._top = top
        self._low = bits - top
        self._mark = 1 << self._low
        self._mask = self._mark - 1
        # the upper 16 bits are few enough for an array: one step less to memory that is not in a cache
        places: list[dict[int, int] | None] = [None] * (1 << top if top <= _ARRAY else 0)
        self._array = places or None
        self._sparse: dict[int, dict[int, int]] = {}
        self._slot: Callable[[int], dict[int, int] | None] = (
            self._sparse.get if self._array is None else self._array.__getitem__
        )
        # networks wider than a slot, by the shift that leaves their bits, the longest prefix first
        self._wide: dict[int, dict[int, int]] = {}
        # equal integers are one object: what makes a rule small
        self._nodes: dict[int, int] = {}
        self._times: dict[int, int] = {}
        # the shifts by their bits, the longest prefix first
        self._shapes: dict[int, tuple[int, ...]] = {0: ()}
        self.count = 0

    def put(self, number: int, length: int, until: int = FOREVER) -> None:
        """Add a network or set its time; ``number`` is its first address."""
        if until is not FOREVER:
            until = _shared(self._times, until)
        shift = self._bits - length
        if length < self._top:
            self._put_wide(number >> shift, shift, until)
            return
        place = number >> self._low
        slot = self._slot(place)
        if slot is None:
            slot = self._open(place)
        node = (number & self._mask | self._mark) >> shift
        if node not in slot:
            self.count += 1
            if not slot[_SHIFTS] >> shift & 1:
                slot[_SHIFTS] = self._shaped(slot[_SHIFTS] | 1 << shift)
            # in line: a million calls of a function are a fifth of a build
            known = self._nodes
            if len(known) > 2 * _SHARED:
                known.clear()
            node = known.setdefault(node, node)
        slot[node] = until

    def remove(self, number: int, length: int) -> bool:
        """Take a network out; ``False``: it was not there."""
        shift = self._bits - length
        if length < self._top:
            table = self._wide.get(shift, {})
            found = table.pop(number >> shift, None) is not None
            if found and not table:
                del self._wide[shift]
            self.count -= found
            return found
        place = number >> self._low
        slot = self._slot(place)
        if slot is None or slot.pop((number & self._mask | self._mark) >> shift, None) is None:
            return False
        self.count -= 1
        # a length that is gone is still probed until the slot is: to look for others of it would cost more
        if len(slot) == 1:
            self._drop(place)
        return True

    def find(self, number: int, now: float) -> int:
        """Return the length of the smallest network that holds the address now, -1 for none."""
        slot = self._slot(number >> self._low)
        if slot is not None:
            marked = number & self._mask | self._mark
            for shift in self._shapes[slot[_SHIFTS]]:
                until = slot.get(marked >> shift)
                if until is not None and until > now:
                    return self._bits - shift
        if self._wide:
            for shift, table in self._wide.items():
                until = table.get(number >> shift)
                if until is not None and until > now:
                    return self._bits - shift
        return -1

    def covering(self, number: int, length: int, now: float) -> Iterator[Found]:
        """Give every network that holds the whole of another one now (itself too), the smallest first."""
        slot = self._slot(number >> self._low)
        least = self._bits - length
        if slot is not None and length >= self._top:
            marked = number & self._mask | self._mark
            for shift in self._shapes[slot[_SHIFTS]]:
                until = slot.get(marked >> shift) if shift >= least else None
                if until is not None and until > now:
                    yield number >> shift << shift, self._bits - shift, until
        for shift, table in self._wide.items():
            until = table.get(number >> shift) if shift >= least else None
            if until is not None and until > now:
                yield number >> shift << shift, self._bits - shift, until

    def within(self, number: int, length: int) -> Iterator[Found]:
        """Give every network inside another one (itself too), whether it still holds or not, in no order."""
        last = number | ((1 << (self._bits - length)) - 1)
        for shift, table in self._wide.items():
            for node, until in table.items():
                if self._bits - shift >= length and number <= node << shift <= last:
                    yield node << shift, self._bits - shift, until
        low, high = number >> self._low, last >> self._low
        places = range(low, high + 1) if self._array is not None or high - low < len(self._sparse) else [*self._sparse]
        for place in places:
            slot = self._slot(place) if low <= place <= high else None
            for node, until in () if slot is None else slot.items():
                if node == _SHIFTS:
                    continue
                depth = node.bit_length() - 1
                first = place << self._low | (node ^ 1 << depth) << (self._low - depth)
                if number <= first <= last and self._top + depth >= length:
                    yield first, self._top + depth, until

    def dismantle(self, slots: int = 512) -> Iterator[None]:
        """Give its memory back in pieces, so that no other thread waits for it; it holds nothing any more then."""
        self._wide.clear()
        places = [*self._sparse] if self._array is None else range(len(self._array))
        for number, place in enumerate(places):
            self._drop(place)
            if number % slots == 0:
                yield
        self.count = 0

    def _shaped(self, bits: int) -> int:
        if bits not in self._shapes:
            self._shapes[bits] = tuple(shift for shift in range(bits.bit_length()) if bits >> shift & 1)
        # equal ones are one object here too
        return _shared(self._nodes, bits)

    def _open(self, place: int) -> dict[int, int]:
        slot = {_SHIFTS: 0}
        if self._array is None:
            self._sparse[place] = slot
        else:
            self._array[place] = slot
        return slot

    def _drop(self, place: int) -> None:
        if self._array is None:
            del self._sparse[place]
        else:
            self._array[place] = None

    def _put_wide(self, node: int, shift: int, until: int) -> None:
        table = self._wide.get(shift)
        if table is None:
            table = dict[int, int]()
            self._wide = dict(sorted([*self._wide.items(), (shift, table)]))
        self.count += node not in table
        table[node] = until


def _shared(known: dict[int, int], value: int) -> int:
    if len(known) > 2 * _SHARED:
        # only the sharing is lost
        known.clear()
    return known.setdefault(value, value)
