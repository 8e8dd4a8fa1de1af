"""Claimed keys of publishers that are not ours, as subject mappings in the JWTs of their accounts.

The server moves them aside within their account, into a stream that a router in the control plane empties. A key is
mapped while the registry of routes gives it to a sandbox *and* the record that ingresses follow does: so a claim that
may still be withdrawn moves nothing, and a release ends the mapping before what is unread is returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.engine import Connection
from sqlalchemy.util import await_only

from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.log import get_logger
from valhalla.kit.registry import Registry
from valhalla.kit.writing import upkeep
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign import accounts, hop_stream, patterns, store
from valhalla.sandbox.routing.foreign.contracts import MAPPED, EventSource
from valhalla.sandbox.routing.foreign.errors import MappingFull, MirrorNeedsRouter, SourceInvalid, SourceOverlaps
from valhalla.sandbox.routing.keeper import read_table
from valhalla.sandbox.routing.link import Link
from valhalla.sandbox.slices.nats_accounts import StandingAccounts

_log = get_logger("sandbox.routing.foreign")
_PATIENCE: Final = 3.0
_LOOK: Final = 0.03
Stolen = Mapping[tuple[str, str], str]


class Mapper:
    """Writes the accounts of sources, one writer at a time among all control planes of the database."""

    def __init__(
        self,
        db: Database,
        cell: CellKey,
        registry: Registry[EventSource],
        server: StandingAccounts,
        claims: Claims,
        url: str,
        sizes: Sizes,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._db = db
        self._tls = tls
        self._url = url
        self._sizes = sizes
        self._cell = cell
        self._registry = registry
        self._server = server
        self._claims = claims
        self._turn = asyncio.Lock()
        self._asked = 0
        self._done = 0
        self._known: set[str] = set()
        self._ready: set[EventSource] = set()
        self.faults: dict[str, Problem] = {}
        """Why an account could not be written, by account."""
        self.mapped: dict[str, accounts.Mappings] = {}
        """What is mapped, by account, as this process last saw it."""
        self.pushed = 0

    async def sources(self) -> list[EventSource]:
        """Return every source that is enabled.

        Raises:
            Unavailable: Postgres does not answer.
        """
        return await self._db.read(self._load)

    def _load(self, conn: Connection) -> list[EventSource]:
        if not self._registry.revision(conn):
            return []
        return [record.value for record in self._registry.load(conn)[1] if record.value.enabled]

    async def check(self, routes: Sequence[Route]) -> None:
        """Refuse routes, which the registry has already, that cannot be mapped.

        Raises:
            MirrorNeedsRouter, MappingFull: a source of such keys is mapped.
            Unavailable: Postgres does not answer.
        """
        mapped = [source for source in await self.sources() if source.way == "mapping"]
        wanted = {route.kind for route in routes}
        for source in mapped:
            if any(route.kind == source.kind and route.mode == "mirror" for route in routes):
                raise MirrorNeedsRouter(f"events of '{source.name}' are mapped, not copied", source=source.name)
        full = {source.account for source in mapped if source.kind in wanted}
        if not full:
            return
        stolen = await self._db.read(store.stolen, {source.kind for source in mapped})
        for account in full:
            count = sum(source.account == account and source.kind == kind for source in mapped for kind, _ in stolen)
            if count > MAPPED:
                raise MappingFull(f"{MAPPED} keys of the account '{account}' are mapped already", account=account)

    async def follow(self, routes: Sequence[Route] = (), *, released: bool = False) -> None:
        """Let the server map what is claimed now, and nothing else; it is in force when this returns.

        ``routes`` are those that somebody waits for, or that were ``released``.

        Raises:
            Unavailable: a backend does not answer.
            SourceInvalid, SourceOverlaps: a source of linked routes cannot be mapped.
        """
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._done < mine:
                # whoever asked until now is served by what is read after now
                until = self._asked
                if self._known or await self._db.read(self._registry.revision):
                    with upkeep():
                        await self._db.run(self._locked)
                self._done = until
        if released:
            await self._drain({route.kind for route in routes})
        if self.faults and routes:
            concerned = {source.account for source in await self.sources() if source.kind in {r.kind for r in routes}}
            for account in concerned & self.faults.keys():
                fault = self.faults[account]
                # what the server does not know or did not take maps nothing, so that nothing is to be released
                if not released or isinstance(fault, Unavailable):
                    raise fault

    def _locked(self, conn: Connection) -> None:
        store.lock(conn)
        sources = self._load(conn)
        stolen = store.stolen(conn, {source.kind for source in sources if source.way == "mapping"})
        # the lock is the connection's; what is written under it is NATS's
        await_only(self._write(sources, stolen))

    async def _write(self, sources: Sequence[EventSource], stolen: Stolen) -> None:
        held = await self._held(stolen)
        self._known |= {source.account for source in sources}
        faults: dict[str, Problem] = {}
        for account in sorted(self._known):
            own = [source for source in sources if source.account == account]
            mappings = dict(
                pair
                for source in own
                if source.way == "mapping"
                for kind, key in held
                if kind == source.kind and (pair := patterns.mapping(source, key)) is not None
            )
            try:
                await self._put(account, own, mappings)
            except Problem as problem:
                _log.warning("the account of an event source could not be written", account=account, error=str(problem))
                faults[account] = problem
            if not own and not isinstance(faults.get(account), Unavailable):
                # nothing of ours is in there any more
                self._forget(account)
                faults.pop(account, None)
        self.faults = faults

    def _forget(self, account: str) -> None:
        self._known.discard(account)
        self.mapped.pop(account, None)
        self._ready = {source for source in self._ready if source.account != account}

    async def _held(self, stolen: Stolen) -> Stolen:
        """Keep what the ingresses' records say too."""
        link, _ = await self._claims.connected()
        said: dict[tuple[str, str], str | None] = {}
        for where in {kinds.source_of(kind) for kind, _ in stolen}:
            table = await read_table(link, f"{subjects.ROUTES}.{where}.*")
            for _, key, record, _ in table.claimed():
                if record.mode == "steal" and not record.held:
                    said[where, key] = record.sandbox
        return {
            (kind, key): sandbox
            for (kind, key), sandbox in stolen.items()
            if said.get((kinds.source_of(kind), key)) == sandbox
        }

    async def _put(self, account: str, own: Sequence[EventSource], mappings: accounts.Mappings) -> None:
        patterns.check_account(account)
        public = accounts.key_of(self._cell, account)
        present = await self._server.find(public)
        if present is None and patterns.is_foreign(account):
            raise SourceInvalid(f"the NATS server knows no account {account}")
        claims = present or accounts.fresh(self._cell, account)
        wanted, covered = accounts.amended(claims, self._cell, (source.kind for source in own), mappings)
        if present is None:
            # what is mapped must have a stream that takes it
            await self._server.put(accounts.amended(claims, self._cell, (), {})[0])
        for source in own:
            if source.way == "mapping" and source not in self._ready:
                await self._prepare(source)
        if present is None or wanted["nats"] != present["nats"]:
            await self._server.put(wanted)
            self.pushed += 1
        self.mapped[account] = {subject: to for subject, to in mappings.items() if subject not in covered}
        if covered:
            raise SourceOverlaps(f"the account '{account}' has a mapping of its own that covers {', '.join(covered)}")

    async def _prepare(self, source: EventSource) -> None:
        async with self._account(source) as link:
            await hop_stream.ensure(link, source, self._sizes, now=datetime.now(UTC))
        self._ready.add(source)

    async def _drain(self, kinds_: Collection[str]) -> None:
        """Wait until what was mapped is on its lane, while the key's route still leads there."""
        for source in await self.sources():
            if source.way != "mapping" or source.kind not in kinds_ or source not in self._ready:
                continue
            async with self._account(source) as link:
                stream, until = hop_stream.name_of(source), time.monotonic() + _PATIENCE
                while not await hop_stream.is_drained(link, stream):
                    if time.monotonic() > until:
                        _log.warning("mapped events are late, and follow the route as it is then", source=source.name)
                        break
                    await asyncio.sleep(_LOOK)

    @contextlib.asynccontextmanager
    async def _account(self, source: EventSource) -> AsyncGenerator[Link]:
        creds = accounts.credentials(self._cell, source, "account")
        link = await Link.open(self._url, creds, name="valhalla sources", tls=self._tls)
        try:
            yield link
        finally:
            await link.close()
