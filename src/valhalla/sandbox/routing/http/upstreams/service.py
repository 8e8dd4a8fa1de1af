"""The use cases of upstreams: an owner says where a sandbox's requests go; it is forgotten when the sandbox ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.kit.changes import Feed
from valhalla.kit.db import Database
from valhalla.kit.outbox import Event
from valhalla.kit.registry import Record, Registry
from valhalla.sandbox import store
from valhalla.sandbox.errors import NotRunning
from valhalla.sandbox.routing.http.errors import UpstreamNotFound
from valhalla.sandbox.routing.http.keys import routing_key
from valhalla.sandbox.routing.http.upstreams.contracts import Upstream
from valhalla.sandbox.routing.http.upstreams.rules import Allowed

if TYPE_CHECKING:
    from valhalla.sandbox.service import SandboxService

_ENDS: Final = frozenset({"sandbox.destroying", "sandbox.destroyed"})


class Upstreams:
    """Reads and writes them, one per sandbox."""

    def __init__(self, db: Database, registry: Registry[Upstream], feed: Feed, cell: CellKey, allowed: Allowed) -> None:
        self._db = db
        self._registry = registry
        self._feed = feed
        self._cell = cell
        self._allowed = allowed
        self.sandboxes: SandboxService

    async def put(
        self, principal: Principal, reference: str, url: str, *, own_host: bool = False
    ) -> tuple[Upstream, str]:
        """Say where a running sandbox's requests go; return that and its routing key.

        Raises:
            SandboxNotFound: there is none, or it is another owner's.
            NotRunning: it is not running.
            UpstreamRefused: nothing may be sent there.
        """
        principal.require("sandbox:write")
        sandbox = await self.sandboxes.get(principal, reference)
        self.sandboxes.must_run(sandbox)
        self._allowed.base(url)
        value = Upstream(sandbox.id, sandbox.name, url, own_host)

        def work(conn: Connection) -> None:
            # the row is locked: one that ends meanwhile ends before, or forgets this when it does
            current = store.lock(conn, sandbox.id)
            if current is None or current.status != "running":
                raise NotRunning("the sandbox ended in the meantime")
            self._registry.put(conn, sandbox.id, value, actor=principal.id)

        await self._db.run(work)
        await self._feed.refresh()
        return value, routing_key(self._cell, sandbox.id)

    async def get(self, principal: Principal, reference: str) -> tuple[Upstream, str | None]:
        """Return where a sandbox's requests go, and its routing key to who may change that.

        Raises:
            SandboxNotFound: there is none, or it is another owner's.
            UpstreamNotFound: nobody has said.
        """
        principal.require("sandbox:read")
        sandbox = await self.sandboxes.get(principal, reference)
        found: Record[Upstream] | None = await self._db.read(self._registry.find, sandbox.id)
        if found is None:
            raise UpstreamNotFound(f"'{sandbox.name}' has no upstream")
        key = routing_key(self._cell, sandbox.id) if principal.allows("sandbox:write") else None
        return found.value, key

    async def drop(self, principal: Principal, reference: str) -> None:
        """Forget where a sandbox's requests go. What it has claimed stays its own, and is answered with 502.

        Raises:
            SandboxNotFound: there is none, or it is another owner's.
            UpstreamNotFound: nobody had said.
        """
        principal.require("sandbox:write")
        sandbox = await self.sandboxes.get(principal, reference)
        await self._db.run(self._forget, [sandbox.id], principal.id)
        await self._feed.refresh()

    async def deliver(self, events: Sequence[Event]) -> None:
        """Forget the upstreams of sandboxes that end (an outbox sink: at least once, after any crash).

        Raises:
            Unavailable: the database cannot be reached; the events are offered again.
        """
        ended = [event.data["id"] for event in events if event.type in _ENDS]
        # most sandboxes have none, and reading costs less than a transaction
        if ended and (known := await self._db.read(self._known, ended)):
            await self._db.run(self._forget_ended, known)
            await self._feed.refresh()

    def _known(self, conn: Connection, ids: Sequence[str]) -> list[str]:
        return [sandbox for sandbox in ids if self._registry.find(conn, sandbox) is not None]

    def _forget(self, conn: Connection, ids: Sequence[str], actor: str) -> None:
        for sandbox in ids:
            if self._registry.find(conn, sandbox) is None:
                raise UpstreamNotFound("the sandbox has no upstream")
            self._registry.delete(conn, sandbox, actor=actor)

    def _forget_ended(self, conn: Connection, ids: Sequence[str]) -> None:
        for sandbox in ids:
            if self._registry.find(conn, sandbox) is not None:
                self._registry.delete(conn, sandbox, actor="system", reason="the sandbox has ended")
