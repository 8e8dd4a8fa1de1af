"""The asynchronous client: the blocking one's methods, on the running event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from valhalla.sdk import calls, discovery
from valhalla.sdk.access import Connection
from valhalla.sdk.actions import AsyncSecurityActions
from valhalla.sdk.alerts import AsyncAlerts
from valhalla.sdk.awork import AsyncHeartbeats, AsyncJobs, AsyncSchedules
from valhalla.sdk.blocklist import AsyncBlocklist
from valhalla.sdk.config_calls import AsyncConfigOperations
from valhalla.sdk.creating import CreateArgs, creation
from valhalla.sdk.deployments import AsyncDeployments
from valhalla.sdk.events import AsyncEvents
from valhalla.sdk.exports import AsyncExports
from valhalla.sdk.failures import AsyncFailures
from valhalla.sdk.flag_calls import AsyncFlagOperations
from valhalla.sdk.further_calls import tables
from valhalla.sdk.graph import AsyncGraph
from valhalla.sdk.holds import AsyncHolds
from valhalla.sdk.honeypots import AsyncHoneypots
from valhalla.sdk.keys import AsyncKeys
from valhalla.sdk.lanes import AsyncLanes
from valhalla.sdk.ledger import AsyncLedger
from valhalla.sdk.limits import AsyncLimits
from valhalla.sdk.logs import AsyncLogs
from valhalla.sdk.maintenance import AsyncMaintenance
from valhalla.sdk.models import Draft, DryRun, Extension, Health, Page, Sandbox
from valhalla.sdk.notify import AsyncNotifications
from valhalla.sdk.opened import OpenSandbox
from valhalla.sdk.operations import AsyncAdmin
from valhalla.sdk.paging import apages
from valhalla.sdk.policies import AsyncPolicies
from valhalla.sdk.registries import AsyncRegistry
from valhalla.sdk.reports import AuditEntry, LedgerReport, Readiness, ReapReport, Snapshot, Template
from valhalla.sdk.retention import AsyncRetention
from valhalla.sdk.smoke import AsyncSmoke
from valhalla.sdk.sources import AsyncSources
from valhalla.sdk.system import AsyncSystem
from valhalla.sdk.traces import AsyncTraces
from valhalla.sdk.wire import Request

T = TypeVar("T")


class AsyncClient:
    """Talks to a control plane. Without arguments it finds the one of the environment or the data directory.

    Connections are kept alive and any number of tasks of one event loop may share a client. Every method raises
    ``ApiProblem`` when refused, ``Unreachable`` when there is no answer.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        data_dir: Path | None = None,
        timeout: float = 30,
    ) -> None:
        # httpx takes 100 ms to import: only who makes a client pays for it
        from valhalla.sdk.atransport import AsyncTransport

        self.endpoint = discovery.find(url, api_key, data_dir)
        self._transport = AsyncTransport(self.endpoint.url, self.endpoint.api_key, timeout)
        self.keys = AsyncKeys(self)
        self.jobs = AsyncJobs(self)
        self.schedules = AsyncSchedules(self)
        self.heartbeats = AsyncHeartbeats(self)
        self.holds = AsyncHolds(self)
        self.alerts = AsyncAlerts(self)
        self.events = AsyncEvents(self)
        self.lanes = AsyncLanes(self)
        self.admin = AsyncAdmin(self)
        self.deployments = AsyncDeployments(self)
        self.smoke = AsyncSmoke(self)
        self.maintenance = AsyncMaintenance(self)
        self.logs = AsyncLogs(self)
        self.actions = AsyncSecurityActions(self)
        self.blocklist = AsyncBlocklist(self)
        self.config = AsyncConfigOperations(self)
        self.exports = AsyncExports(self)
        self.failures = AsyncFailures(self)
        self.flags = AsyncFlagOperations(self)
        self.graph = AsyncGraph(self)
        self.honeypots = AsyncHoneypots(self)
        self.ledger = AsyncLedger(self)
        self.limits = AsyncLimits(self)
        self.notifications = AsyncNotifications(self)
        self.policies = AsyncPolicies(self)
        self.retention = AsyncRetention(self)
        self.sources = AsyncSources(self)
        self.system = AsyncSystem(self)
        self.traces = AsyncTraces(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection now."""
        await self._transport.close()

    async def send(self, request: Request[T]) -> T:
        """Send any of ``valhalla.sdk.calls`` and return its typed answer."""
        return request.decode(await self._transport.exchange(request))

    async def document(self, request: Request[Any]) -> Any:
        """Send any of ``valhalla.sdk.calls`` and return the answer as it came."""
        return await self._transport.exchange(request)

    def lines(
        self, path: str, query: dict[str, str], headers: dict[str, str], silence: float
    ) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Open a stream of lines; ``silence`` seconds without one end it. Raises what every method raises."""
        return self._transport.lines(path, query, headers, silence)

    def sandbox(self, name: str | None = None, **args: Unpack[CreateArgs]) -> AbstractAsyncContextManager[OpenSandbox]:
        """Make a sandbox for the length of an ``async with`` block; it is destroyed however the block ends."""
        from valhalla.sdk.alending import lend

        return lend(self, creation(name, **args))

    async def create(self, name: str | None = None, **args: Unpack[CreateArgs]) -> Sandbox:
        """Make a sandbox and wait until it runs; the answer holds its ``connection``. The caller destroys it."""
        return await self.send(creation(name, **args))

    async def plan(self, draft: Draft) -> DryRun:
        """Say what ``create`` would make."""
        return await self.send(calls.plan(draft))

    def iterate(
        self,
        *,
        owner: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        include_destroyed: bool = False,
    ) -> AsyncIterator[Sandbox]:
        """Every sandbox the key may see, page after page."""
        return apages(
            self.send,
            lambda cursor: calls.list_sandboxes(
                owner=owner,
                status=status,
                tag=tag,
                name=name,
                include_destroyed=include_destroyed,
                limit=100,
                cursor=cursor,
            ),
        )

    async def get(self, ref: str) -> Sandbox:
        """Return a sandbox by id or name."""
        return await self.send(calls.get(ref))

    async def destroy(self, ref: str, *, wait: float | None = None) -> Sandbox:
        """Cut access at once; with ``wait`` stay up to that many seconds for the rest."""
        return await self.send(calls.destroy(ref, wait=wait))

    async def reset(self, ref: str) -> Sandbox:
        """Bring a sandbox back to its template: same credentials, fresh contents."""
        return await self.send(calls.reset(ref))

    async def snapshot(self, ref: str, template: str, *, replace: bool = False) -> Snapshot:
        """Copy what a sandbox's Postgres slice holds into a template that others can start from."""
        return await self.send(calls.snapshot(ref, template, replace=replace))

    async def templates(self) -> tuple[Template, ...]:
        """Return what a sandbox can be made from."""
        return (await self.send(calls.list_templates())).items

    async def remove_template(self, name: str) -> None:
        """Remove a snapshot; sandboxes that were made from it stay."""
        await self.send(calls.remove_template(name))

    async def extend(self, ref: str, ttl: str) -> Extension:
        """Give a sandbox more time; the answer tells when the maximum cut it short."""
        return await self.send(calls.extend(ref, ttl))

    async def tables(self, ref: str) -> list[dict[str, Any]]:
        """Return the tables of a sandbox's Postgres slice, with their numbers of rows."""
        return await self.send(tables(ref))

    async def status(self, ref: str) -> Health:
        """Return a sandbox's health."""
        return await self.send(calls.status(ref))

    async def connection(self, ref: str) -> Connection:
        """Return how to enter a running sandbox."""
        return await self.send(calls.connection(ref))

    async def link(
        self, ref: str, kind: str, key: str, *, mirror: bool = False, sample: float = 1.0, replay: bool = False
    ) -> None:
        """Route events of (kind, key) to the sandbox."""
        await self.send(calls.link(ref, kind, key, mirror=mirror, sample=sample, replay=replay))

    async def unlink(self, ref: str, kind: str, key: str, *, unread: str | None = None) -> None:
        """End a route."""
        await self.send(calls.unlink(ref, kind, key, unread=unread))

    def audit(self, ref: str | None = None) -> AsyncIterator[AuditEntry]:
        """Every entry of the ledger, or of one sandbox."""
        if ref is None:
            return apages(self.send, lambda cursor: calls.audit(limit=100, cursor=cursor))
        return apages(self.send, lambda cursor: calls.sandbox_audit(ref, limit=100, cursor=cursor))

    async def verify_ledger(self) -> LedgerReport:
        """Recompute the ledger's chain."""
        return await self.send(calls.verify_ledger())

    async def reap(self, *, dry_run: bool = False) -> ReapReport:
        """Run one pass of the reaper now."""
        return await self.send(calls.reap(dry_run=dry_run))

    def registry(self, name: str) -> AsyncRegistry:
        """Return the records of a registry: ``limits``, ``flags``, ``keys`` …, or a path that begins with a slash."""
        return AsyncRegistry(self, name)

    async def ready(self) -> Readiness:
        """Return whether the control plane can do its work; not being ready is no error here."""
        return await self.send(calls.ready())

    async def info(self) -> dict[str, Any]:
        """Return version, address, data directory and services."""
        return await self.send(calls.info())

    # last, so that `list` above still names the type
    async def list(
        self,
        *,
        owner: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        include_destroyed: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Sandbox]:
        """Return one page of sandboxes; ``iterate`` walks over all of them."""
        request = calls.list_sandboxes(
            owner=owner,
            status=status,
            tag=tag,
            name=name,
            include_destroyed=include_destroyed,
            limit=limit,
            cursor=cursor,
        )
        return await self.send(request)
