"""Where buckets are kept: found in constant time, never evicted while they count, forgotten in small steps after.

How this is safe without a lock on the way that is taken often: CPython lets another thread run only at a call, at a
loop's end and at a function's start. A line without a call is therefore one step for all other threads, and one *line*
(not one statement) is one step for a debugger and a coverage tool too. So:

* the value of a bucket that is in ``young`` is read, judged and written in one such line, without a lock;
* which buckets there are changes only under the shard's lock: ``young`` gets keys, or is replaced as a whole;
* a replaced dictionary is ``old``: nothing writes to it any more, since every line looks ``young`` up anew.

An interpreter without that lock around everything (free-threaded, or another implementation) never takes the short
way: see ``LINES_ARE_ATOMIC``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

from valhalla.guard.governor.errors import BadTake

Value = TypeVar("Value")

LINES_ARE_ATOMIC: Final = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()

# so many that growing one dictionary of a million keys' worth never stops everybody for more than a millisecond
_SHARDS: Final = 64
# buckets that one call looks at on the way: more than one, so that sweeping is faster than filling
_STEP: Final = 6
MAX_SUBJECT: Final = 512


class Shard(Generic[Value]):
    """A part of a table's buckets. Survivors of ``old`` move to ``young`` step by step; then ``old`` is dropped."""

    __slots__ = ("ceiling", "lock", "old", "walk", "young")

    def __init__(self, ceiling: int) -> None:
        # re-entrant: a finaliser or a signal handler may come back here in the middle
        self.lock = threading.RLock()
        self.young: dict[str, Value] = {}
        self.old: dict[str, Value] = {}
        self.walk: Iterator[tuple[str, Value]] | None = None
        # with fewer keys it is swept by the clock alone: subjects that come back soon find their bucket
        self.ceiling = ceiling

    def turn(self) -> None:
        """Begin a sweep: from now on ``young`` is empty and what was in it is ``old``. Under the lock."""
        fresh: dict[str, Value] = {}
        self.old, self.young = self.young, fresh
        self.walk = iter(self.old.items())


class Table(Generic[Value]):
    """The buckets of one limit. ``due`` is the instant at which a call should spend a moment on sweeping.

    ``spare`` is how many buckets are kept in each shard before size alone makes it sweep.
    """

    spare = 2048

    def __init__(self, *, shared: bool, now: float) -> None:
        """``shared`` tables have one bucket and need no shards."""
        self.shards: tuple[Shard[Value], ...] = tuple(Shard[Value](self.spare) for _ in range(1 if shared else _SHARDS))
        self.mask: Final = len(self.shards) - 1
        self.shared: Final = shared
        self.due = now
        self._turn = 0
        self._sweeping = threading.Lock()

    # what a kind of limit says about its buckets

    def fresh(self, now: float) -> Value:
        """Return the bucket of a subject that has used nothing."""
        raise NotImplementedError

    def moved(self, bucket: Value, now: float) -> Value | None:
        """Return what of a bucket is still worth keeping; ``None`` if it has come back to full. Under the lock."""
        raise NotImplementedError

    def keep(self, young: dict[str, Value], some: Iterable[tuple[str, Value]], now: float) -> None:
        """Put what of ``some`` is worth keeping and not there yet into ``young``. Under the lock."""
        for subject, bucket in some:
            if subject not in young and (kept := self.moved(bucket, now)) is not None:
                young.setdefault(subject, kept)

    def lifetime(self) -> float:
        """Return the seconds after which an untouched bucket is certainly full again."""
        raise NotImplementedError

    # finding

    def shard(self, subject: str) -> Shard[Value]:
        """Return the part that holds the subject (of a shared table: everybody)."""
        return self.shards[hash(subject) & self.mask]

    def find(self, subject: str) -> Value | None:
        """Return the bucket, to look at."""
        shard = self.shard(subject)
        found = shard.young.get(subject)
        if found is not None or not shard.old:
            return found
        with shard.lock:
            found = shard.young.get(subject)
            return shard.old.get(subject) if found is None else found

    def install(self, shard: Shard[Value], subject: str, now: float) -> None:
        """See to it that the subject's bucket is in ``young``.

        Raises:
            BadTake: the subject is unusable.
        """
        check_subject(subject)
        with shard.lock:
            if shard.walk is None and len(shard.young) >= shard.ceiling:
                shard.turn()
            self._step(shard, now, _STEP)
            if subject not in shard.young:
                found = shard.old.get(subject)
                kept = None if found is None else self.moved(found, now)
                shard.young.setdefault(subject, self.fresh(now) if kept is None else kept)

    # forgetting

    def _step(self, shard: Shard[Value], now: float, count: int) -> None:
        if shard.walk is None:
            return
        some = list(islice(shard.walk, count))
        self.keep(shard.young, some, now)
        if len(some) < count:
            shard.walk = None
            shard.old = {}
            shard.ceiling = max(self.spare, 2 * len(shard.young))

    def sweep(self, now: float) -> None:
        """Look at a few buckets of the shard whose turn it is, and say when the next few are due.

        Every shard is gone through once in two lifetimes, so nothing expired outlives three of them while calls come.
        """
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            shard = self.shards[self._turn & self.mask]
            with shard.lock:
                if shard.walk is None and shard.young:
                    shard.turn()
                self._step(shard, now, _STEP)
                left = len(shard.old)
                if shard.walk is None:
                    self._turn += 1
            self.due = now + 2 * self.lifetime() / len(self.shards) * _STEP / max(_STEP, left)
        finally:
            self._sweeping.release()

    def requicken(self, now: float) -> None:
        """Send every bucket through ``moved`` before it is used again, whatever limit it was made under."""
        for shard in self.shards:
            with shard.lock:
                while shard.walk is not None:
                    self._step(shard, now, 1024)
                shard.turn()

    def __len__(self) -> int:
        """Return how many buckets are kept (one that moves is counted twice)."""
        return sum(len(shard.young) + len(shard.old) for shard in self.shards)


def check_subject(subject: object) -> None:
    """Raise ``BadTake`` for what cannot be a key: no text, or too long to be kept."""
    # an exact type: a subclass could run code of its own while it is looked up
    if type(subject) is not str or len(subject) > MAX_SUBJECT:
        raise BadTake(f"a subject is a text of at most {MAX_SUBJECT} characters")
