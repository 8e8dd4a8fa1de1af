"""The use cases of retention: look what would go, have it purged, see what went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sqlalchemy.engine import Connection

from valhalla.features.data.retention import rules, store
from valhalla.features.data.retention.contracts import Preview, Purge
from valhalla.features.data.retention.errors import NeedsConfirmation, NoPolicy, PurgeNotFound
from valhalla.features.data.retention.looking import Looking, Standing
from valhalla.features.data.retention.starting import Starting
from valhalla.kernel.principal import Principal
from valhalla.kit import paging
from valhalla.kit.db import Database

READ: Final = "retention:read"
WRITE: Final = "retention:write"
LARGE: Final = "retention.purge-large"
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
class Asked:
    """What became of a request: a purge, or the hold that it waits for."""

    purge: Purge | None
    hold: str | None = None


class RetentionService:
    """Retention of one control plane."""

    def __init__(self, db: Database, looking: Looking, starting: Starting, *, ask: Callable[[], Ask]) -> None:
        """``ask`` returns who executes admin actions, once all is composed."""
        self._db = db
        self._looking = looking
        self._starting = starting
        self._ask = ask

    async def standings(self, principal: Principal) -> list[Standing]:
        """Return every category with what holds for it, by name."""
        principal.require(READ)
        return await self._db.run(self._looking.standings)

    async def preview(self, principal: Principal, name: str, *, days: int | None, keep_last: int | None) -> Preview:
        """Return what a purge would take, by the policy or by what is named. Writes nothing.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, BadPolicy: there is nothing to look at.
        """
        principal.require(READ)
        return await self._db.run(self._looking.named, name, days, keep_last)

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
        category = self._looking.open(name)
        policy = self._looking.effective(conn, category)
        look = self._looking.preview(conn, category, policy)
        if rules.needs_people(look.rows, look.share, policy):
            raise NeedsConfirmation(
                f"{look.rows} rows would go, {look.share:.0%} of the table; the policy allows {policy.max_share:.0%}",
                category=name,
                rows=look.rows,
                total=look.total,
                share=round(look.share, 4),
                cutoff=None if look.cutoff is None else look.cutoff.isoformat(),
            )
        return self._starting.start(conn, principal, policy, look.cutoff or _NEVER, look.rows, reason)

    async def confirmed(self, principal: Principal, name: str, cutoff: datetime, rows: int, reason: str) -> Purge:
        """Purge what somebody else has agreed to: up to that instant, and not many more rows than they saw.

        Raises:
            UnknownCategory, NotPurged, NoPolicy, AlreadyPurging: nothing is purged.
        """
        principal.require(WRITE)

        def work(conn: Connection) -> Purge:
            category = self._looking.open(name)
            policy = self._looking.effective(conn, category)
            # what they agreed to, as far as the policy still says so
            now = self._looking.cutoff(conn, category, policy)
            if now is None:
                raise NoPolicy(f"by its policy nothing of {name} is old", category=name)
            return self._starting.start(conn, principal, policy, min(cutoff, now), rows, reason)

        return await self._db.run(work)

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
        return await paging.newest(
            lambda before, size: self._db.read(store.page, category=category, status=status, before=before, limit=size),
            lambda purge: (purge.created_at, purge.id),
            limit=limit,
            cursor=cursor,
        )
