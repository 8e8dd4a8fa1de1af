"""The use cases of retention: look what would go, have it purged, see what went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.categories import Categories
from valhalla.features.data.retention.contracts import Category, Hold, Policy, Preview, Purge
from valhalla.features.data.retention.errors import (
    AlreadyPurging,
    NeedsConfirmation,
    NoPolicy,
    NotPurged,
    PurgeNotFound,
)
from valhalla.features.data.retention.purging import KIND
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit
from valhalla.kit.redact import text
from valhalla.kit.registry import Registry
from valhalla.work import Jobs, submit

READ: Final = "retention:read"
WRITE: Final = "retention:write"
JOB: Final = "valhalla.purge"
LARGE: Final = "retention.purge-large"
_AGAIN: Final = timedelta(days=1)
# what comes between the look and the purge is no reason to stop it
_SLACK: Final = 10_000
# nothing is older
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Ask(Protocol):
    """Who executes admin actions, holding those that others must agree to."""

    async def __call__(
        self, principal: Principal, name: str, arguments: Mapping[str, Any], *, reason: str
    ) -> tuple[str, Any]:
        """Return the operation's id and what it came to, which has a ``status`` and maybe a ``hold``."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for a category: its policy, or without one its default, and its newest purge."""

    category: Category
    policy: Policy | None
    keep: timedelta | None
    last: Purge | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request: a purge, or the hold that it waits for."""

    purge: Purge | None
    hold: str | None = None


class RetentionService:
    """Retention of one control plane."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        ledger: Ledger,
        categories: Categories,
        policies: Registry[Policy],
        holds: Registry[Hold],
        *,
        clock: Clock,
        ask: Callable[[], Ask],
    ) -> None:
        """``ask`` returns who executes admin actions, once all is composed."""
        self._db = db
        self._jobs = jobs
        self._ledger = ledger
        self._categories = categories
        self._policies = policies
        self._holds = holds
        self._clock = clock
        self._ask = ask

    async def standings(self, principal: Principal) -> list[Standing]:
        """Return every category with what holds for it, by name."""
        principal.require(READ)
        return await self._db.run(self._standings)

    def _standings(self, conn: Connection) -> list[Standing]:
        last = store.last(conn)
        policies = {record.key: record.value for record in self._policies.load(conn)[1]}
        return [
            Standing(one, policies.get(name), one.keep, last.get(name))
            for name, one in sorted(self._categories.all().items())
        ]

    async def preview(self, principal: Principal, name: str, *, days: int | None, keep_last: int | None) -> Preview:
        """Return what a purge would take, by the policy or by what is named. Writes nothing.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, BadPolicy: there is nothing to look at.
        """
        principal.require(READ)
        return await self._db.run(self._preview_of, name, days, keep_last)

    def _preview_of(self, conn: Connection, name: str, days: int | None, keep_last: int | None) -> Preview:
        category = self._open(name)
        if days is None and keep_last is None:
            return self._preview(conn, category, self._effective(conn, category))
        policy = Policy(name, days, keep_last)
        rules.check_policy(policy, self._categories.all())
        return self._preview(conn, category, policy)

    def _open(self, name: str) -> Category:
        category = self._categories.get(name)
        if category.refused is not None:
            raise NotPurged(f"{name} is never purged: {category.refused}", category=name)
        return category

    def _effective(self, conn: Connection, category: Category) -> Policy:
        record = self._policies.find(conn, category.name)
        if record is not None:
            return record.value
        if category.keep is None:
            raise NoPolicy(f"nothing says how long {category.name} is kept", category=category.name)
        return Policy(category.name, enabled=True)

    def _cutoff(self, conn: Connection, category: Category, policy: Policy) -> datetime | None:
        now = self._clock.now()
        if policy.days is None and policy.keep_last is None:
            assert category.keep is not None
            return rules.whole_days(now - category.keep) if category.partitioned else now - category.keep
        border = store.border(conn, category, policy.keep_last) if policy.keep_last else None
        return rules.cutoff_of(category, policy, now, border)

    def _preview(self, conn: Connection, category: Category, policy: Policy) -> Preview:
        cutoff = self._cutoff(conn, category, policy)
        total, size = store.size(conn, category)
        if cutoff is None:
            return Preview(category.name, None, total, 0, 0, None, None, 0, exact=True)
        held = rules.held_sql(category, store.holds(conn, self._holds))
        rows, kept, oldest, newest = store.count(conn, category, cutoff, held)
        total = max(total, rows + kept)
        taken = size * rows // total if total else 0
        return Preview(category.name, cutoff, total, rows, kept, oldest, newest, taken, exact=True)

    async def request(self, principal: Principal, name: str, *, reason: str, confirm: bool = False) -> Asked:
        """Have a category purged by its policy, now. What is a large part of the table waits for somebody else.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, AlreadyPurging: nothing is purged.
            NeedsConfirmation: it is a large part, and ``confirm`` is not set.
        """
        principal.require(WRITE)
        try:
            return Asked(await self._db.run(self._request, principal, name, reason))
        except NeedsConfirmation as problem:
            if not confirm:
                raise
            arguments = {"category": name, "cutoff": problem.extra["cutoff"], "rows": problem.extra["rows"]}
        _, done = await self._ask()(principal, LARGE, arguments, reason=reason)
        if done.status == "held":
            return Asked(None, done.hold)
        return Asked(await self.get(principal, done.value["purge"]))

    def _request(self, conn: Connection, principal: Principal, name: str, reason: str) -> Purge:
        category = self._open(name)
        policy = self._effective(conn, category)
        look = self._preview(conn, category, policy)
        if rules.needs_people(look.rows, look.share, policy):
            raise NeedsConfirmation(
                f"{look.rows} rows would go, {look.share:.0%} of the table; the policy allows {policy.max_share:.0%}",
                category=name,
                rows=look.rows,
                total=look.total,
                share=round(look.share, 4),
                cutoff=None if look.cutoff is None else look.cutoff.isoformat(),
            )
        return self._make(conn, principal, policy, look.cutoff or _NEVER, look.rows, reason)

    async def confirmed(self, principal: Principal, name: str, cutoff: datetime, rows: int, reason: str) -> Purge:
        """Purge what somebody else has agreed to: up to that instant, and not many more rows than they saw.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, AlreadyPurging: nothing is purged.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Purge:
            category = self._open(name)
            policy = self._effective(conn, category)
            # what they agreed to, as far as the policy still says so
            now = self._cutoff(conn, category, policy)
            if now is None:
                raise NoPolicy(f"by its policy nothing of {name} is old", category=name)
            return self._make(conn, principal, policy, min(cutoff, now), rows, reason)

        return await self._db.run(work)

    def _make(
        self, conn: Connection, principal: Principal, policy: Policy, cutoff: datetime, rows: int, reason: str | None
    ) -> Purge:
        id_ = new_id()
        job = submit(conn, self._jobs, JOB, {"purge": id_}, dedup_key=id_)
        made = store.insert(
            conn,
            {
                "id": id_,
                "category": policy.category,
                "status": "pending",
                "actor": principal.id,
                "reason": None if reason is None else text(reason),
                "cutoff": cutoff,
                "policy": msgspec.to_builtins(policy),
                "most": rows + rows // 10 + _SLACK,
                "job": job.id,
                "created_at": self._clock.now(),
            },
        )
        if made is None:
            # the job that was submitted above goes with this transaction
            raise AlreadyPurging(f"a purge of {policy.category} has not ended", category=policy.category)
        details = {"category": policy.category, "cutoff": cutoff.isoformat(), "expected": rows, "reason": reason}
        self._ledger.append(conn, actor=principal.id, action="purge_requested", kind=KIND, subject=id_, details=details)
        return made

    async def tick(self) -> list[str]:
        """Begin the purges that policies and defaults ask for now; return the categories."""
        begun: list[str] = []
        for name, category in self._categories.all().items():
            if category.refused is None and await self._db.run(self._due, category):
                begun.append(name)
        return begun

    def _due(self, conn: Connection, category: Category) -> bool:
        record = self._policies.find(conn, category.name)
        if (record is None and category.keep is None) or (record is not None and not record.value.enabled):
            return False
        last = store.last(conn).get(category.name)
        if last is not None and last.finished_at is None and last.status != "blocked":
            return False
        policy = self._effective(conn, category)
        look = self._preview(conn, category, policy)
        if look.rows == 0 or look.cutoff is None:
            return False
        if rules.needs_people(look.rows, look.share, policy):
            self._block(conn, policy, look, last)
            return False
        self._make(conn, SYSTEM, policy, look.cutoff, look.rows, None)
        return True

    def _block(self, conn: Connection, policy: Policy, look: Preview, last: Purge | None) -> None:
        """Say once a day that a purge waits for people."""
        now = self._clock.now()
        if last is not None and last.status == "blocked" and now - last.created_at < _AGAIN:
            return
        assert look.cutoff is not None
        id_ = new_id()
        told = {"rows": look.rows, "total": look.total, "share": round(look.share, 4)}
        error = {"code": NeedsConfirmation.code, "detail": f"{look.share:.0%} of the table", **told}
        store.insert(
            conn,
            {
                "id": id_,
                "category": policy.category,
                "status": "blocked",
                "actor": SYSTEM.id,
                "cutoff": look.cutoff,
                "policy": msgspec.to_builtins(policy),
                "error": error,
                "created_at": now,
                "finished_at": now,
            },
        )
        self._ledger.append(
            conn,
            actor=SYSTEM.id,
            action="purge_blocked",
            kind=KIND,
            subject=id_,
            details={"category": policy.category, **told},
        )
        emit(
            conn,
            subject=f"retention.{policy.category}",
            type="retention.blocked",
            data={"id": id_, "category": policy.category, **told},
        )

    async def get(self, principal: Principal, id_: str) -> Purge:
        """Return one purge.

        Raises:
            PurgeNotFound: none has this id.
        """
        principal.require(READ)
        found = await self._db.read(store.find, id_)
        if found is None:
            raise PurgeNotFound(f"no purge has the id {id_[:64]!a}")
        return found

    async def page(
        self, principal: Principal, *, category: str | None, status: str | None, limit: int | None, cursor: str | None
    ) -> paging.Page[Purge]:
        """Return purges, the newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        principal.require(READ)
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        before = None if position is None else (paging.instant(position, "at"), paging.text(position, "id"))
        rows = await self._db.read(store.page, category=category, status=status, before=before, limit=size + 1)
        items = rows[:size]
        more = len(rows) > size
        after = paging.encode({"at": items[-1].created_at.isoformat(), "id": items[-1].id}) if more else None
        return paging.Page(items, after)
