"""The three verbs on a Valkey server, for callers in threads and on event loops; both send the same scripts."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Coroutine
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Literal

from valhalla.guard.codec import JsonCodec
from valhalla.guard.contracts import Began, BeginRequest, BeginResult, CasRequest, CasResult, Effect, Page, Scan
from valhalla.guard.errors import StoreRefuses
from valhalla.guard.stores.valkey import answers, durability, requests
from valhalla.guard.stores.valkey.exchanges import Exchanges, may_repeat, sound
from valhalla.guard.stores.valkey.faults import Lost
from valhalla.guard.stores.valkey.replies import ReplyError
from valhalla.kernel.problems import Invalid

_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_TENANT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# how long the server's settings are believed; after a lost connection they are asked for again at once
_BELIEVED: Final = 10.0
_EXECUTING: Final = frozenset({"executing"})


class ValkeyStore:
    """Rows, limits and ledger of one ``tenant`` on a Valkey 7.2+ or Redis 7+ server.

    All keys of a tenant share a hash tag, so they are one slot of a cluster; the URL names the node that has it (the
    store follows neither redirections nor a failover's replica: what a primary had not yet passed on is lost there).
    The server's clock decides; if it is set back, limits and leases last longer, never shorter. Irreversible actions
    are refused unless the server writes every step to disk before it answers (``appendonly yes``, ``appendfsync
    always``, no eviction).

    A connection that breaks in the middle of a verb is made anew and the verb sent once more: each is marked, so the
    server does it once. If that fails too, the verb raises ``Unavailable``, and an effect whose ``begin`` did is not
    run; a claim that the server made nevertheless is given back by the guard when the server is there again, or, if
    the process has ended by then, lapses with its lease and is told as indeterminate.
    """

    durable = True
    instant = False
    keeps_ends = True

    def __init__(
        self,
        url: str,
        *,
        tenant: str = "default",
        ledger: int = 100_000,
        timeout: float = 5.0,
        durability: Literal["checked", "trusted"] = "checked",
    ) -> None:
        """``ledger`` is how many lines the stream keeps at least, ``timeout`` seconds for connecting and each answer.

        ``durability="trusted"`` takes the operator's word for the server's settings. Nothing is connected yet.

        Raises:
            Invalid: the tenant's name cannot be part of a key, or the URL cannot be read.
        """
        if not url.startswith(_SCHEMES):
            raise Invalid("this is no address of a Valkey server", help="Write redis://host:6379 or rediss://….")
        if _TENANT.fullmatch(tenant) is None:
            raise Invalid("a tenant is 1 to 64 characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'")
        self.codec = JsonCodec()
        self._trusted = durability == "trusted"
        self._server = Exchanges(url, timeout, f"{{{tenant}}}guard:", ledger)
        # a task that nobody holds may be collected before it has run
        self._kept: set[asyncio.Task[CasResult]] = set()
        self._asked_at = float("-inf")
        self._objection: str | None = None

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger line as one step."""
        if request.effect is Effect.IRREVERSIBLE:
            self._vouch(self._check())
        return answers.began(request, self._server.call(requests.begin(request), _mark(request.id.encode())))

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        objection = self._check() if _dispatches(request) else None
        body = requests.cas(request, durable=objection is None)
        return self._swapped(request, self._server.call(body, _mark_of(request, body)), objection)

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        return answers.page(self._server.run("scan", requests.scan(query)))

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        return self._server.run("purge", requests.purge(limit))

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``."""
        if request.effect is Effect.IRREVERSIBLE:
            self._vouch(await self._acheck())
        # a caller that is cancelled may have claimed: nobody will run the effect, so the claim goes back
        orphan = partial(self._give_back, request)
        return answers.began(
            request, await self._server.acall(requests.begin(request), _mark(request.id.encode()), orphan)
        )

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``; what it says is written down, also if the caller is cancelled."""
        pipeline = self._server.here()
        if not pipeline.is_open or _dispatches(request):
            return await asyncio.shield(self._keep(self._acas(request)))
        body = requests.cas(request, durable=True)
        mark = _mark_of(request, body)
        try:
            # the promise is kept without a task of its own, unless the connection breaks
            reply = await pipeline.call(body, mark, partial(self._see_through, request, (body, mark)))
        except Lost as lost:
            self._server.told(lost)
            return await asyncio.shield(self._keep(self._acas(request, (body, mark))))
        return self._swapped(request, reply, None)

    async def _acas(self, request: CasRequest, again: tuple[bytes, bytes] | None = None) -> CasResult:
        objection = await self._acheck() if _dispatches(request) else None
        body, mark = again or (b"", b"")
        if again is None:
            body = requests.cas(request, durable=objection is None)
            mark = _mark_of(request, body)
        return self._swapped(request, await self._server.acall(body, mark), objection)

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        return answers.page(await self._server.arun("scan", requests.scan(query)))

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        return await self._server.arun("purge", requests.purge(limit))

    def close(self) -> None:
        """Close all connections."""
        self._server.close()

    # -- ends and claims of cancelled callers --------------------------------------------------------------------------

    def _swapped(self, request: CasRequest, reply: Any, objection: str | None) -> CasResult:
        result = answers.swapped(request, sound(reply))
        if result is None:
            self._vouch(objection)
            raise AssertionError("the script refused what is durable")
        return result

    def _give_back(self, request: BeginRequest, reply: Any) -> None:
        if isinstance(reply, (ReplyError, Lost)):
            return
        began = answers.began(request, reply)
        record = began.record
        if began.kind is Began.EXECUTE and record is not None and (request.key is not None or request.track):
            release = CasRequest(
                record.id, _EXECUTING, "not_done", "finish", record.principal, generation=record.generation
            )
            self._keep(self._acas(release))

    def _see_through(self, request: CasRequest, sent: tuple[bytes, bytes], reply: Any) -> None:
        """Send what a cancelled caller said once more if its connection broke."""
        if isinstance(reply, Lost) and may_repeat(reply):
            self._keep(self._acas(request, sent))

    def _keep(self, work: Coroutine[Any, Any, CasResult]) -> asyncio.Task[CasResult]:
        task = asyncio.ensure_future(work)
        self._kept.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[CasResult]) -> None:
        self._kept.discard(task)
        if not task.cancelled():
            # who waits for it is told; of a claim that is given back the lease tells
            task.exception()

    # -- durability ----------------------------------------------------------------------------------------------------

    def _check(self) -> str | None:
        if not self._knows():
            self._learn(self._server.ask(durability.QUESTION))
        return self._objection

    async def _acheck(self) -> str | None:
        if not self._knows():
            self._learn(await self._server.aask(durability.QUESTION))
        return self._objection

    def _knows(self) -> bool:
        # after a lost connection it may be another server, or have other settings
        return self._trusted or (
            time.monotonic() < self._asked_at + _BELIEVED and self._asked_at > self._server.broke_at
        )

    def _learn(self, reply: Any) -> None:
        self._objection = durability.objection(reply)
        # an objection is not believed: it is to end as soon as the operator has set things right
        self._asked_at = time.monotonic() if self._objection is None else float("-inf")

    @staticmethod
    def _vouch(objection: str | None) -> None:
        if objection is not None:
            raise StoreRefuses(objection, help=durability.HELP)


def _mark_of(request: CasRequest, body: bytes) -> bytes:
    """Return the mark of ``request``.

    The end of an execution has the same mark each time it is sent: the guard repeats it while the store is away, and
    one that came through unanswered is the same end, not another one. All that may lead to an effect, and heartbeats,
    have a mark for this one time.
    """
    if request.generation is None or request.to == "executing":
        return os.urandom(8)
    return _mark(body)


def _mark(sent: bytes) -> bytes:
    return blake2b(sent, digest_size=8).digest()


def _dispatches(request: CasRequest) -> bool:
    return request.to == "executing" and "executing" not in request.sources
