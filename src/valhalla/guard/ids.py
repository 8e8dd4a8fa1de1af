"""Ids of actions: 16 characters of ``[a-z0-9]``, random per process and counted within it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from itertools import chain, count
from typing import Final

from valhalla.kernel.ids import LENGTH, new_id

_COUNTED: Final = 7
_CHUNK: Final = 4096


class Ids:
    """An endless source of ids. ``source.__next__`` is for the hot path: it runs in C, a random id costs tenfold.

    A forked child draws another prefix, so parent and child never give out the same id.
    """

    def __init__(self) -> None:
        self._renew()
        self.source = chain.from_iterable(_Chunks(self))
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: (ids := me()) and ids._forked())

    def __next__(self) -> str:
        """Return a fresh id."""
        return next(self.source)

    def chunk(self) -> Iterator[str]:
        """Return the next few thousand ids, made one by one as they are taken."""
        # prefix and counter are swapped together, and a counter never gives one number to two threads
        prefix, counter = self._series
        start = next(counter) * _CHUNK
        if start >= 16**_COUNTED:
            self._renew()
            return self.chunk()
        return map((prefix + f"%0{_COUNTED}x").__mod__, range(start, start + _CHUNK))

    def _renew(self) -> None:
        self._series = (new_id()[: LENGTH - _COUNTED], count())

    def _forked(self) -> None:
        self._renew()
        # what is left of the parent's chunk belongs to the parent
        while not next(self.source).startswith(self._series[0]):
            pass


class _Chunks:
    """An iterator of its own and no generator: threads may meet in it."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def __iter__(self) -> Iterator[Iterator[str]]:
        return self

    def __next__(self) -> Iterator[str]:
        return self._ids.chunk()
