"""The three verbs on a Valkey server, for callers in threads and on event loops; both send the same scripts."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from valhalla.guard.codec import JsonCodec
from valhalla.guard.contracts import Began, BeginRequest, BeginResult, CasRequest, CasResult, Effect, Page, Scan
from valhalla.guard.errors import StoreRefuses
from valhalla.guard.stores.valkey import answers, durability, requests
from valhalla.guard.stores.valkey.faults import Lost, problem, unavailable
from valhalla.guard.stores.valkey.links import Links
from valhalla.guard.stores.valkey.pipeline import Pipeline
from valhalla.guard.stores.valkey.replies import ReplyError
from valhalla.guard.stores.valkey.scripts import Verb, scripts
from valhalla.kernel.problems import Invalid

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
            Invalid: the tenant's name cannot be part of a key.
        """
        if _TENANT.fullmatch(tenant) is None:
            raise Invalid("a tenant is 1 to 64 characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'")
        self.codec = JsonCodec()
        self._url = url
        self._timeout = timeout
        self._ledger = ledger
        self._trusted = durability == "trusted"
        self._scripts = scripts(f"{{{tenant}}}guard:")
        self._links = Links(url, timeout)
        self._pipelines: WeakKeyDictionary[asyncio.AbstractEventLoop, Pipeline] = WeakKeyDictionary()
        # a task that nobody holds may be collected before it has run
        self._releases: set[asyncio.Task[CasResult]] = set()
        self._asked_at = float("-inf")
        self._objection: str | None = None

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def begin(self, request: BeginRequest) -> BeginResult:
        """Dedup, policy, limits, claim and ledger line as one step."""
        if request.effect is Effect.IRREVERSIBLE:
            self._vouch(self._check())
        return answers.began(
            request, self._run("begin", requests.begin(request, self._ledger), _mark(request.id.encode()))
        )

    def cas(self, request: CasRequest) -> CasResult:
        """Change one row if it still is what the request says."""
        objection = self._check() if _dispatches(request) else None
        body = requests.cas(request, self._ledger, durable=objection is None)
        result = answers.swapped(request, self._run("cas", body, _mark_of(request, body)))
        if result is None:
            self._vouch(objection)
            raise AssertionError("the script refused what is durable")
        return result

    def scan(self, query: Scan) -> Page:
        """Read rows or ledger lines."""
        return answers.page(self._run("scan", requests.scan(query)))

    def purge(self, limit: int = 1000) -> int:
        """Remove rows past ``keep_until`` and results past ``value_until``; return how many were touched."""
        return self._run("purge", requests.packed((self._ledger, limit)))

    async def abegin(self, request: BeginRequest) -> BeginResult:
        """Async twin of ``begin``."""
        if request.effect is Effect.IRREVERSIBLE:
            self._vouch(await self._acheck())
        body = requests.begin(request, self._ledger)
        # a caller that is cancelled may have claimed: nobody will run the effect, so the claim goes back
        reply = await self._arun("begin", body, _mark(request.id.encode()), partial(self._give_back, request))
        return answers.began(request, reply)

    async def acas(self, request: CasRequest) -> CasResult:
        """Async twin of ``cas``."""
        objection = await self._acheck() if _dispatches(request) else None
        body = requests.cas(request, self._ledger, durable=objection is None)
        result = answers.swapped(request, await self._arun("cas", body, _mark_of(request, body)))
        if result is None:
            self._vouch(objection)
            raise AssertionError("the script refused what is durable")
        return result

    async def ascan(self, query: Scan) -> Page:
        """Async twin of ``scan``."""
        return answers.page(await self._arun("scan", requests.scan(query)))

    async def apurge(self, limit: int = 1000) -> int:
        """Async twin of ``purge``."""
        return await self._arun("purge", requests.packed((self._ledger, limit)))

    def close(self) -> None:
        """Close all connections."""
        self._links.close()
        for pipeline in list(self._pipelines.values()):
            pipeline.close()

    # -- exchanges -----------------------------------------------------------------------------------------------------

    def _run(self, verb: Verb, request: bytes, mark: bytes | None = None) -> Any:
        script, mark = self._scripts[verb], mark or os.urandom(8)
        reply = self._ask(script.by_digest(request, mark))
        if _forgotten(reply):
            reply = self._ask(script.by_text(request, mark))
        return _sound(reply)

    def _ask(self, command: bytes) -> Any:
        try:
            try:
                return self._links.ask(command)
            except Lost as lost:
                self._asked_at = float("-inf")
                if not _again(lost):
                    raise
                return self._links.ask(command)
        except Lost as lost:
            raise unavailable(lost) from lost

    async def _arun(
        self, verb: Verb, request: bytes, mark: bytes | None = None, orphan: Callable[[Any], object] | None = None
    ) -> Any:
        script, mark = self._scripts[verb], mark or os.urandom(8)
        reply = await self._aask(script.by_digest(request, mark), orphan)
        if _forgotten(reply):
            reply = await self._aask(script.by_text(request, mark), orphan)
        return _sound(reply)

    async def _aask(self, command: bytes, orphan: Callable[[Any], object] | None = None) -> Any:
        loop = asyncio.get_running_loop()
        pipeline = self._pipelines.get(loop)
        if pipeline is None:
            pipeline = self._pipelines[loop] = Pipeline(self._url, self._timeout)
        try:
            try:
                return await pipeline.ask(command, orphan)
            except Lost as lost:
                self._asked_at = float("-inf")
                if not _again(lost):
                    raise
                return await pipeline.ask(command, orphan)
        except Lost as lost:
            raise unavailable(lost) from lost

    def _give_back(self, request: BeginRequest, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            return
        began = answers.began(request, reply)
        record = began.record
        if began.kind is Began.EXECUTE and record is not None and (request.key is not None or request.track):
            release = CasRequest(
                record.id, _EXECUTING, "not_done", "finish", record.principal, generation=record.generation
            )
            task = asyncio.ensure_future(self.acas(release))
            self._releases.add(task)
            task.add_done_callback(self._released)

    def _released(self, task: asyncio.Task[CasResult]) -> None:
        self._releases.discard(task)
        if not task.cancelled():
            # a store that is away keeps the claim until its lease lapses
            task.exception()

    # -- durability ----------------------------------------------------------------------------------------------------

    def _check(self) -> str | None:
        if not self._knows():
            self._learn(self._ask(durability.QUESTION))
        return self._objection

    async def _acheck(self) -> str | None:
        if not self._knows():
            self._learn(await self._aask(durability.QUESTION))
        return self._objection

    def _knows(self) -> bool:
        return self._trusted or time.monotonic() < self._asked_at + _BELIEVED

    def _learn(self, reply: Any) -> None:
        self._objection = durability.objection(reply)
        # an objection is not believed: it is to end as soon as the operator has set things right
        self._asked_at = time.monotonic() if self._objection is None else float("-inf")

    @staticmethod
    def _vouch(objection: str | None) -> None:
        if objection is not None:
            raise StoreRefuses(objection, help=durability.HELP)


def _mark_of(request: CasRequest, body: bytes) -> bytes | None:
    """Return the mark of ``request``; ``None`` asks for one that no other verb has.

    The end of an execution has the same mark each time it is sent: the guard repeats it while the store is away, and
    one that came through unanswered is the same end, not another one. All that may lead to an effect, and heartbeats,
    have a mark for this one time.
    """
    if request.generation is None or request.to == "executing":
        return None
    return _mark(body)


def _mark(sent: bytes) -> bytes:
    return blake2b(sent, digest_size=8).digest()


def _dispatches(request: CasRequest) -> bool:
    return request.to == "executing" and "executing" not in request.sources


def _again(lost: Lost) -> bool:
    """Say whether the verb is sent once more: not to a server that is merely slow, nor to one that was not there."""
    return lost.sent and not isinstance(lost.cause, TimeoutError)


def _forgotten(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"


def _sound(reply: Any) -> Any:
    if isinstance(reply, ReplyError):
        raise problem(reply)
    return reply
