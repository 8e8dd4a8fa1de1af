"""The use cases of honeypots: register, deactivate, send, look; and of decoys the making of keys."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.operations.clients import ClientService
from valhalla.features.operations.clients import rules as keys
from valhalla.features.security.honeypots import reading, rules, store
from valhalla.features.security.honeypots.contracts import Caught, Decoy, Filter, Honeypot, Refused, Taken, Type
from valhalla.features.security.honeypots.errors import BadEvent, HoneypotExists, HoneypotNotFound, NoHoneypot
from valhalla.features.security.honeypots.reading import Read
from valhalla.features.security.honeypots.recording import Recorder
from valhalla.kernel.clock import Clock
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.registry import Record, Registry

INGEST: Final = "honeypots:ingest"
WRITE: Final = "honeypots:write"
STEPS: Final = 24
MOST: Final = 1_000
"""Events in one batch."""
Reader = Callable[[object], Read | None]
READERS: Final[Mapping[str, Reader]] = {"opencanary": reading.opencanary, "cowrie": reading.cowrie}


class HoneypotService:
    """Registers sensors and takes what they send. Their keys are those of API clients, with one scope."""

    def __init__(
        self,
        db: Database,
        honeypots: Registry[Honeypot],
        decoys: Registry[Decoy],
        clients: ClientService,
        recorder: Recorder,
        settle: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
    ) -> None:
        self._db = db
        self.honeypots = honeypots
        self.decoys = decoys
        self._clients = clients
        self._recorder = recorder
        self._settle = settle
        self._clock = clock
        self.by_client: Callable[[], Mapping[str, Honeypot]] = dict
        """The honeypots by the API client that they send with."""

    async def register(
        self,
        principal: Principal,
        name: str,
        type: Type,  # noqa: A002 - the member's name on the wire
        *,
        location: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        networks: Sequence[str] = (),
    ) -> tuple[Record[Honeypot], str]:
        """Register a sensor; return it with its key, which is shown this once.

        Raises:
            Forbidden: the principal may not.
            HoneypotExists: the name is taken.
            Invalid: the name, the metadata or a network cannot be.
        """
        principal.require(WRITE)
        rules.check_honeypot(Honeypot(name, type, "", location, dict(metadata or {})))
        if await self._db.read(self.honeypots.find, name) is not None:
            raise HoneypotExists(f"there already is a honeypot '{name}'", key=name)
        # the one scope opens one route: nobody gives more rights with it than to report
        issued = await self._clients.issue(
            SYSTEM,
            owner="honeypots",
            scopes=[INGEST],
            name=f"honeypot {name}",
            networks=networks,
            reason=f"registered by {principal.id}",
        )
        honeypot = Honeypot(name, type, issued.client.id, location, dict(metadata or {}))
        try:
            await self._db.run(self.honeypots.put, name, honeypot, actor=principal.id, expect_version=0)
        except Problem:
            # another one was quicker: a key of nobody's must not stay
            await self._clients.revoke(SYSTEM, issued.client.id)
            raise
        await self.settled()
        return await self._db.read(self.honeypots.get, name), issued.key

    async def switch(self, principal: Principal, name: str, *, active: bool) -> Record[Honeypot]:
        """Take what a sensor sends no longer, or again.

        Raises:
            HoneypotNotFound: there is none of this name.
        """
        principal.require(WRITE)
        found = await self._found(name)
        await self._clients.switch(
            SYSTEM, found.value.client_id, "activate" if active else "deactivate", reason=f"by {principal.id}"
        )
        changed = msgspec.structs.replace(found.value, active=active)
        await self._db.run(self.honeypots.put, name, changed, actor=principal.id)
        await self.settled()
        return await self._found(name)

    async def rotate(self, principal: Principal, name: str, *, grace: timedelta) -> str:
        """Give a sensor a new key; the old one is taken for ``grace`` more.

        Raises:
            HoneypotNotFound: there is none of this name.
        """
        principal.require(WRITE)
        found = await self._found(name)
        issued, _ = await self._clients.rotate(SYSTEM, found.value.client_id, grace=grace, reason=f"by {principal.id}")
        await self.settled()
        return issued.key

    async def remove(self, principal: Principal, name: str) -> None:
        """Forget a sensor and end its key; what it caught stays.

        Raises:
            HoneypotNotFound: there is none of this name.
        """
        principal.require(WRITE)
        found = await self._found(name)
        with contextlib.suppress(Problem):
            await self._clients.revoke(SYSTEM, found.value.client_id, reason=f"by {principal.id}")
        await self._db.run(self.honeypots.delete, name, actor=principal.id)
        await self.settled()

    async def decoy_key(
        self, principal: Principal, name: str, *, description: str | None, score: int | None
    ) -> tuple[Record[Decoy], str]:
        """Make a decoy API key: well-formed, with a valid checksum, and nobody's. It is shown this once.

        Raises:
            Forbidden: the principal may not.
            PreconditionFailed: the name is taken.
        """
        principal.require(WRITE)
        key = keys.mint(new_id(), self._clients.environment)
        decoy = Decoy(
            name, "key", digest=keys.digest(key), prefix=keys.prefix(key), score=score, description=description
        )
        await self._db.run(self.decoys.put, name, decoy, actor=principal.id, expect_version=0)
        await self.settled()
        return await self._db.read(self.decoys.get, name), key

    async def take(self, principal: Principal, items: Sequence[object], read: Reader) -> Taken:
        """Take a batch of a sensor: each event once, however often it comes.

        Raises:
            NoHoneypot: the key is no active honeypot's.
        """
        principal.require(INGEST)
        honeypot = self.by_client().get(principal.id)
        if honeypot is None or not honeypot.active:
            raise NoHoneypot
        now = self._clock.now()
        events: list[Caught] = []
        refused: list[Refused] = []
        ignored = 0
        for number, item in enumerate(items):
            try:
                found = read(item)
                if found is None:
                    ignored += 1
                else:
                    events.append(rules.caught(found, honeypot.name, now))
            except BadEvent as problem:
                refused.append(Refused(number, problem.detail))
        accepted, acted = await self._recorder.write(events) if events else (0, False)
        if acted:
            await self.settled()
        return Taken(accepted, len(events) - accepted, ignored, tuple(refused))

    async def events(self, wanted: Filter, *, limit: int, cursor: str | None) -> paging.Page[RowMapping]:
        """Return what was caught, newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        return await paging.newest(
            lambda before, size: self._db.read(store.page, wanted, before=before, limit=size),
            lambda event: (event["at"], event["uid"]),
            limit=limit,
            cursor=cursor,
        )

    async def activity(self, hours: int) -> Mapping[str, Any]:
        """Return what was caught within some hours: by kind, by honeypot, and who scores most."""
        return await self._db.read(_activity, self._clock.now() - timedelta(hours=hours))

    async def touched(self, since: datetime, hours: int) -> Mapping[str, Any]:
        """Return which decoys and sensors were touched since an instant, in 24 parts of some hours."""
        step = timedelta(hours=hours) / STEPS
        rows = await self._db.read(store.touches, since, step)
        touches = [
            {**row, "at": row["at"].astimezone(UTC), "address": row["address"] if row["addresses"] == 1 else None}
            for row in rows
        ]
        return {"step": step.total_seconds(), "touches": touches}

    async def settled(self) -> None:
        """Bring this process up to date; what is committed stays, and the feed catches up by itself."""
        with contextlib.suppress(Unavailable):
            await self._settle()

    async def _found(self, name: str) -> Record[Honeypot]:
        found = await self._db.read(self.honeypots.find, name)
        if found is None:
            raise HoneypotNotFound(f"there is no honeypot {name[:64]!a}")
        return found


def _activity(conn: Connection, since: datetime) -> Mapping[str, Any]:
    return {"since": since, **store.activity(conn, since)}
