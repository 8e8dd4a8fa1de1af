"""The governor's calls: take, peek, refund, bind, and changing limits while they are used."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

from valhalla.guard.governor.clock import steady
from valhalla.guard.governor.decision import Decision
from valhalla.guard.governor.errors import BadLimit
from valhalla.guard.governor.limits import EVERY, Limit, Limits, as_limits
from valhalla.guard.governor.plan import AnyTable, Plan, Terms, table_of
from valhalla.guard.governor.shards import LINES_ARE_ATOMIC


class Check(Protocol):
    """A prepared ``take`` of one resource."""

    def __call__(self, subject: str = "", cost: int = 1) -> Decision:
        """Take; an admitted call gets one shared decision that knows neither policies nor instant."""
        ...


class Governor:
    """Counts what is taken of resources, per subject or together, and refuses what would be too much.

    >>> governor = Governor({"mail": "100/hour", "llm": Limit(capacity=50_000, window=60, kind="gcra")})
    >>> governor.take("mail", "ada").allowed
    True

    Limits of the resource ``"*"`` apply to every resource in addition, and count all of them together. Threads may
    share a governor. It starts none, and forgets what has come back to full in small steps while it is called.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits] | None = None,
        unknown: Literal["deny", "allow"] = "deny",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` returns seconds; one that may go backwards is held in check.

        Raises:
            BadLimit: a limit cannot be read or contradicts itself.
        """
        if unknown not in ("deny", "allow"):
            raise BadLimit("what is unknown is 'deny' or 'allow'", help="Pass unknown='deny' or unknown='allow'.")
        self._unknown = unknown
        self._clock = steady(clock)
        self._edit = threading.RLock()
        self._own: dict[str, tuple[AnyTable, ...]] = {}
        self._plans: dict[str, Plan] = {}
        self._shadowed: Counter[tuple[str, str]] = Counter()
        self._together = threading.RLock()
        for resource, some in (limits or {}).items():
            self.set_limit(resource, some)

    def take(self, resource: str, subject: str = "", cost: int = 1, names: Iterable[str] | None = None) -> Decision:
        """Take ``cost`` from all limits of the resource (or those named), or from none.

        Raises:
            BadTake: the cost is not a whole number above zero, or the subject is unusable.
            UnknownLimit: a name is not one of the resource's limits.
        """
        return self._plan(resource).take(subject, cost, names)

    def peek(self, resource: str, subject: str = "", cost: int = 1, names: Iterable[str] | None = None) -> Decision:
        """Say what ``take`` would say, and change nothing."""
        return self._plan(resource).peek(subject, cost, names)

    def refund(
        self,
        resource: str,
        subject: str = "",
        cost: int = 1,
        names: Iterable[str] | None = None,
        at: float | None = None,
    ) -> None:
        """Give back what a take took.

        ``at`` is that decision's ``at``. Without it the take counts as the newest one, which is right only for a caller
        who gives back at once; an old take that is given back without it makes room that it does not have any more.
        """
        self._plan(resource).refund(subject, cost, names, at)

    def bind(self, resource: str) -> Check:
        """Return ``take`` for one resource, prepared; later changes of its limits reach it too."""

        def slow(subject: str, cost: int) -> Decision:
            return self._plan(resource).take(subject, cost, None)

        def check(subject: str = "", cost: int = 1) -> Decision:
            return slow(subject, cost)

        return self._plan(resource).short(slow) or check

    def set_limit(self, resource: str, limits: Limits) -> None:
        """Give the resource these limits and no others; those that it had before keep their usage.

        A limit is the same as before if its name is (or if there is one before and one after). Windows that lie after
        the change see at most the new capacity. One in which the change lies: exact, what is remembered counts, GCRA at
        most ``burst + rate * window`` with the larger rate of the two. No limits at all: everything is allowed.

        Raises:
            BadLimit: a limit cannot be read, or changes its kind or scope (that is another limit: name it otherwise).
        """
        made = as_limits(limits)
        with self._edit:
            before = self._own.get(resource, ())
            now = self._clock()
            kept = [_kept(limit, before, alone=len(before) == len(made) == 1) for limit in made]
            for table in before:
                table.allow(False)
            tables: list[AnyTable] = []
            for table, limit in zip(kept, made, strict=True):
                if table is not None and table.limit != limit:
                    table.change(limit, now)
                tables.append(table_of(limit, now) if table is None else table)
            self._own[resource] = tuple(tables)
            for name in self._own if resource == EVERY else (resource,):
                self._plans[name] = self._planned(name, known=True)
                self._plans[name].open()

    def limits_of(self, resource: str) -> tuple[Limit, ...]:
        """Return the limits that a take of the resource meets, in order; none for an unknown one."""
        return self.terms_of(resource).limits

    def terms_of(self, resource: str) -> Terms:
        """Return the same for whoever counts by itself: which are shared by all resources, and what no limit means."""
        return self._plan(resource).terms

    def shadowed(self) -> dict[tuple[str, str], int]:
        """Return how often each shadow limit would have refused, by resource and name."""
        with self._edit:
            return dict(self._shadowed)

    def buckets(self) -> int:
        """Return how many buckets are kept."""
        with self._edit:
            return sum(len(table) for tables in self._own.values() for table in tables)

    def _plan(self, resource: str) -> Plan:
        found = self._plans.get(resource)
        if found is not None:
            return found
        with self._edit:
            # kept for a known resource only: what callers make up must not fill the memory
            return self._planned(resource, known=resource in self._own)

    def _planned(self, resource: str, *, known: bool) -> Plan:
        own, every = self._own.get(resource, ()), self._own.get(EVERY, ())
        tables = own if resource == EVERY else (*own, *every)
        lock = self._together if every else threading.RLock() if len(own) > 1 or not LINES_ARE_ATOMIC else None
        return Plan(
            tables,
            lock,
            self._clock,
            lambda name: self._count(resource, name),
            known=known or self._unknown == "allow",
            own=len(own),
        )

    def _count(self, resource: str, name: str) -> None:
        with self._edit:
            self._shadowed[resource, name] += 1


def _kept(limit: Limit, before: tuple[AnyTable, ...], *, alone: bool) -> AnyTable | None:
    """Return the table that goes on counting under ``limit``."""
    for table in before:
        alike = (table.limit.kind, table.limit.scope) == (limit.kind, limit.scope)
        if table.limit.name == limit.name and not alike:
            raise BadLimit(
                f"the limit '{limit.name}' cannot change its kind or scope while it is counted",
                help="Give the new one another name.",
            )
        if table.limit.name == limit.name or (alone and alike):
            return table
    return None
