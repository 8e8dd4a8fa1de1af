"""What a store of the guard is: three verbs, each one atomic step on the store's own clock.

``begin`` does, in this order and as one step:

1. **Dedup**, if the request has a key and a row answers it (same name and key, ``keep_until`` not past):

   =================  ==========================================================================================
   row                answer
   =================  ==========================================================================================
   other fingerprint  ``held``/``approved`` of the same principal becomes ``superseded``/``stale``, go on with a
                      new id; a released row: go on with a new id; anything else: ``KEY_REUSE``
   executing          lease alive: ``IN_PROGRESS`` and ``retry_after``. Lapsed: with ``on_lapse="rerun"`` go on with
                      the row's id; else the row becomes ``indeterminate`` (same generation): ``INDETERMINATE``
   indeterminate      ``on_lapse="rerun"``: go on with the row's id; else ``INDETERMINATE``
   held, approved     past ``expires_at``: becomes ``expired``, go on with a new id; else ``HELD`` / ``APPROVED``
   succeeded, failed  ``keep``: ``REPLAY`` (without a value once ``value_until`` is past); else go on with a new id
   denied             ``keep``: ``DENIED``; else go on with a new id
   not_done           go on with the row's id
   other released     go on with a new id
   =================  ==========================================================================================

   "Go on" claims with the row's generation + 1, so whoever still holds the old generation cannot finish.
2. **Policy**: ``DENY`` writes a ledger row, nothing else. ``HOLD``: ``CAPPED`` if the principal has ``hold.cap`` open
   holds, else a held row; limits are not charged.
3. **Limits**, all of ``takes`` or none: ``LIMITED``, and no row.
4. **Claim**: a row ``executing`` with its lease, if there is a key or ``track``; and the ledger row.

``cas`` checks and changes one row (see ``CasRequest``). ``scan`` reads. Both fences hold against every writer. A store
that cannot be reached raises ``kernel.problems.Unavailable``; one that refuses what is asked raises ``StoreRefuses``.
"""

from __future__ import annotations

from typing import Any, Protocol

from valhalla.guard.contracts import BeginRequest, BeginResult, CasRequest, CasResult, Page, Scan


class Codec(Protocol):
    """How results are kept. ``encode`` never returns ``None``; what it cannot encode raises ``TypeError``."""

    def encode(self, value: object) -> Any:
        """Return the form that is kept: it must not change when the caller later changes ``value``."""
        ...

    def decode(self, stored: Any) -> object:
        """Return a fresh value; callers may change it."""
        ...


class Store(Protocol):
    """The verbs for callers in threads and, with an ``a`` before the name, on an event loop.

    ``durable`` says whether a row survives the process. ``instant`` says that a verb never waits, so that the guard
    may call the plain verbs on an event loop. A store with ``keeps_ends = True`` writes what ``acas`` was given also if
    its caller is cancelled; for the others the guard makes a task that nobody cancels.
    """

    durable: bool
    instant: bool

    @property
    def codec(self) -> Codec:
        """How results are kept."""
        ...

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger row as one step."""
        ...

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        ...

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        ...

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        ...

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``."""
        ...

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``."""
        ...

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        ...

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        ...

    def close(self) -> None:
        """Give back connections and threads; the store is not used afterwards."""
        ...
