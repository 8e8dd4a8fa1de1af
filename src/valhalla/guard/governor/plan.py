"""The limits that one resource's calls meet, and how they are taken: all or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from valhalla.guard.governor.decision import Decision, Policies
from valhalla.guard.governor.errors import BadTake, UnknownLimit
from valhalla.guard.governor.gcra import GcraTable
from valhalla.guard.governor.limits import Limit
from valhalla.guard.governor.ring import RingTable
from valhalla.guard.governor.shards import LINES_ARE_ATOMIC, check_subject

AnyTable = GcraTable | RingTable


class Terms(Struct, frozen=True):
    """What a take of one resource meets: its own limits, those of all resources, and whether it is known at all."""

    own: tuple[Limit, ...] = ()
    every: tuple[Limit, ...] = ()
    known: bool = False

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All limits, in the order in which they are taken."""
        return (*self.own, *self.every)


def table_of(limit: Limit, now: float) -> AnyTable:
    """Return the buckets for a limit."""
    return GcraTable(limit, now) if limit.kind == "gcra" else RingTable(limit, now)


class Plan:
    """One resource's tables. A lone table takes by itself; several are taken under ``lock``.

    Whoever takes from one of several tables holds the lock, so nobody sees what is undone because the next one refuses.
    """

    def __init__(
        self,
        tables: Sequence[AnyTable],
        lock: threading.RLock | None,  # pyright: ignore[reportInvalidTypeForm] - a function in typeshed until 3.13
        clock: Callable[[], float],
        shadowed: Callable[[str], None],
        *,
        known: bool,
        own: int | None = None,
    ) -> None:
        """``lock`` is ``None`` for a table that is alone and in no other plan; ``own`` tables are the resource's."""
        self.tables: Final = tuple(tables)
        limits = tuple(table.limit for table in self.tables)
        self.terms: Final = Terms(limits[:own], () if own is None else limits[own:], True) if known else Terms()
        self._lock = lock
        self._clock = clock
        self._shadowed = shadowed
        self._known = known

    def short(self, slow: Callable[[str, int], Decision]) -> Callable[..., Decision] | None:
        """Return the short way for a lone table; what is unusual goes to ``slow``."""
        if self._lock is not None or len(self.tables) != 1:
            return None
        table = self.tables[0]
        check = table.checker(self._clock, Decision("allowed", None), slow)
        if table.limit.scope == "subject":
            return check

        def together(subject: str = "", cost: int = 1) -> Decision:
            return check("", cost)

        return together

    def open(self) -> None:
        """Let callers go the short way if there is one, or nobody if not."""
        lone = self._lock is None and len(self.tables) == 1 and LINES_ARE_ATOMIC
        for table in self.tables:
            table.allow(lone and table.limit.cost == 1)

    def take(self, subject: str, cost: int, names: Iterable[str] | None) -> Decision:
        """Take from all tables (or those named), or from none."""
        now = self._clock()
        if not self._known:
            return Decision("unknown", now, retry_after=None)
        tables = self._chosen(subject, cost, names)
        if self._lock is None:
            return self._take(tables, subject, cost, now)
        with self._lock:
            return self._take(tables, subject, cost, now)

    def peek(self, subject: str, cost: int, names: Iterable[str] | None) -> Decision:
        """Say what ``take`` would say."""
        now = self._clock()
        if not self._known:
            return Decision("unknown", now, retry_after=None)
        tables = self._chosen(subject, cost, names)
        shadows, refusal = self._look(tables, subject, cost, now)
        if refusal is not None:
            return refusal
        return Decision("allowed", now, self._policies(tables, subject), shadowed=tuple(shadows))

    def refund(self, subject: str, cost: int, names: Iterable[str] | None, at: float | None) -> None:
        """Give back to all tables (or those named)."""
        now = self._clock()
        for table in self._chosen(subject, cost, names):
            table.refund(subject, cost * table.limit.cost, at, now)

    def _take(self, tables: tuple[AnyTable, ...], subject: str, cost: int, now: float) -> Decision:
        while True:
            taken: list[AnyTable] = []
            shadows: tuple[str, ...] = ()
            for table in tables:
                limit = table.limit
                if now >= table.due:
                    table.sweep(now)
                if table.take(subject, cost * limit.cost, now):
                    taken.append(table)
                elif limit.shadow:
                    shadows += (limit.name,)
                else:
                    break
            else:
                for name in shadows:
                    self._shadowed(name)
                return Decision("allowed", now, self._policies(tables, subject), 0.0, None, shadows)
            for table in taken:
                table.refund(subject, cost * table.limit.cost, None, now)
            refusal = self._look(tables, subject, cost, now)[1]
            # none: another thread gave something back between our two looks
            if refusal is not None:
                return refusal

    def _look(
        self, tables: tuple[AnyTable, ...], subject: str, cost: int, now: float
    ) -> tuple[list[str], Decision | None]:
        """Return the shadows that would refuse, and the refusal that takes longest if there is one."""
        shadows: list[str] = []
        longest, by, why = 0.0, None, "limited"
        for table in tables:
            limit = table.limit
            wait = table.wait(subject, cost * limit.cost, now)
            if wait == 0.0:
                continue
            if limit.shadow:
                shadows.append(limit.name)
            elif wait is None:
                why: Literal["limited", "never"] = "never"
                by = limit.name
                break
            elif wait > longest:
                longest, by = wait, limit.name
        if by is None:
            return shadows, None
        after = longest if why == "limited" else None
        return shadows, Decision(why, now, self._policies(tables, subject), after, by)

    def _policies(self, tables: tuple[AnyTable, ...], subject: str) -> Callable[[], Policies]:
        def policies() -> Policies:
            now = self._clock()
            return tuple((table.limit.name, *table.state(subject, now)) for table in tables if not table.limit.shadow)

        return policies

    def _chosen(self, subject: object, cost: object, names: Iterable[str] | None) -> tuple[AnyTable, ...]:
        check_subject(subject)
        if type(cost) is not int or cost < 1:
            raise BadTake("a cost is a whole number, 1 or more")
        if names is None:
            return self.tables
        wanted = {names} if isinstance(names, str) else set(names)
        known = [table.limit.name for table in self.tables]
        if not wanted.issubset(known):
            raise UnknownLimit("the resource has no limit of one of these names", known=known)
        return tuple(table for table in self.tables if table.limit.name in wanted)
