"""What a principal may see of sandboxes, and of what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.writing import upkeep
from valhalla.sandbox import access, rules, store
from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import LIVE, HealthReport, LaneHealth, Sandbox, TableStats
from valhalla.sandbox.errors import NotRunning, SandboxNotFound, SliceMissing
from valhalla.sandbox.health import judge
from valhalla.sandbox.slices.contracts import Probe


@dataclass(frozen=True, slots=True)
class Page:
    """One page of sandboxes, newest first; ``next`` is the cursor of the following one."""

    items: Sequence[Sandbox]
    next: str | None
    total: int


class Lanes(Protocol):
    """Knows how lanes of live events are."""

    async def health(self, sandbox: str) -> LaneHealth:
        """Say how one is, or raise a problem."""
        ...


class Register:
    """The questions that change nothing."""

    lanes: Lanes | None = None

    def __init__(self, db: Database, backends: Backends, ledger: Ledger, clock: Clock) -> None:
        self.backends = backends
        self._db = db
        self._ledger = ledger
        self._clock = clock

    async def get(self, principal: Principal, reference: str) -> Sandbox:
        """Return a sandbox by id or name.

        Raises:
            SandboxNotFound: there is none, or it is another owner's.
        """
        sandbox = None
        # an id has the form of a name; anything else is not worth a query, or is none that Postgres could read
        if rules.NAME.fullmatch(reference) is not None:
            owner = None if principal.is_admin else principal.owner
            sandbox = await self._db.read(store.find, reference, owner=owner)
        # a slot of the pool has no owner and is nobody's sandbox yet
        if sandbox is None or not sandbox.owner:
            raise SandboxNotFound(f"no sandbox has the id or name '{reference[:64]}'")
        return sandbox

    async def list(
        self,
        principal: Principal,
        *,
        owner: str | None = None,
        statuses: Sequence[str] | None = None,
        tag: str | None = None,
        name: str | None = None,
        include_destroyed: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of sandboxes, of those whose names begin with ``name`` if that is said.

        A principal that is no admin sees its owner's only.

        Raises:
            Invalid: the cursor is not one of ours.
        """
        if not principal.is_admin:
            if owner is not None and owner != principal.owner:
                return Page((), None, 0)
            owner = principal.owner
        if statuses is None and not include_destroyed:
            statuses = (*LIVE, "destroying")
        position = paging.decode(cursor)
        after = None if position is None else (paging.instant(position, "at"), paging.text(position, "id"))
        items, total = await self._db.read(
            store.page, owner=owner, statuses=statuses, tag=tag, name=name, limit=limit + 1, after=after
        )
        last = items[limit - 1] if len(items) > limit else None
        following = None if last is None else paging.encode({"at": last.created_at.isoformat(), "id": last.id})
        return Page(items[:limit], following, total)

    async def connection(self, principal: Principal, reference: str) -> dict[str, Any]:
        """Return the addresses and credentials of a running sandbox, and its environment variables.

        Raises:
            NotRunning: it is not running.
        """
        sandbox = await self.get(principal, reference)
        self.must_run(sandbox)
        # that somebody looked is noted, but it is no change of the caller's
        with upkeep():
            await self._db.run(store.touch, {sandbox.id: self._clock.now()})
        return access.connection(sandbox, self.backends)

    async def health(self, principal: Principal, reference: str) -> HealthReport:
        """Check a sandbox with its own credentials in every backend."""
        sandbox = await self.get(principal, reference)
        probes: Mapping[str, Probe] = {}
        if sandbox.status == "running" and sandbox.quarantined_at is None:
            probes = await self.backends.probe(sandbox.names)
        lane: LaneHealth | Problem | None = None
        silent = "nats" in probes and not probes["nats"].ok
        # a server that does not answer is waited for and told of once
        if sandbox.status == "running" and self.lanes is not None and not silent:
            try:
                lane = await self.lanes.health(sandbox.id)
            except Problem as problem:
                lane = problem
        return judge(sandbox, probes, now=self._clock.now(), lane=lane)

    async def stats(self, principal: Principal, reference: str) -> list[TableStats]:
        """Return the tables of a running sandbox's schema with their row counts.

        Raises:
            NotRunning: it is not running.
            SliceMissing: it has no Postgres slice.
        """
        sandbox = await self.get(principal, reference)
        self.must_run(sandbox, having="postgres")
        return await self.backends.postgres.stats(sandbox.names)

    async def audit(self, principal: Principal, reference: str, *, limit: int, cursor: str | None) -> Any:
        """Return a page of what happened to a sandbox, newest first; also after its end."""
        sandbox = await self.get(principal, reference)
        return await self._db.read(self._ledger.page, kind="sandbox", subject=sandbox.id, limit=limit, cursor=cursor)

    async def counts(self) -> Mapping[str, int]:
        """Count the sandboxes that are not destroyed, by status."""
        return await self._db.read(store.count_by_status)

    async def reread(self, sandbox_id: str) -> Sandbox:
        """Return the sandbox of this id as it is now."""
        sandbox = await self._db.read(store.find, sandbox_id)
        assert sandbox is not None, "rows of sandboxes are never deleted"
        return sandbox

    def must_run(self, sandbox: Sandbox, *, having: str | None = None) -> None:
        """Check that a sandbox runs and has time left, and that it has a slice.

        Raises:
            NotRunning: it does not run.
            SliceMissing: it was made without the slice.
        """
        if sandbox.status != "running":
            raise NotRunning(f"the sandbox is {sandbox.status}", sandbox_status=sandbox.status)
        if sandbox.quarantined_at is not None:
            raise NotRunning("the sandbox is in quarantine", sandbox_status="quarantined")
        if sandbox.expires_at <= self._clock.now():
            raise NotRunning("the sandbox's time is over", sandbox_status="expired")
        if having is not None and having not in sandbox.names.slices:
            raise SliceMissing(f"the sandbox has no {having} slice", slice=having)
