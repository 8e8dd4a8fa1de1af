"""The blocking client: one method per thing a control plane does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from valhalla.sdk import calls, discovery
from valhalla.sdk.access import Connection
from valhalla.sdk.actions import SecurityActions
from valhalla.sdk.alerts import Alerts
from valhalla.sdk.blocklist import Blocklist
from valhalla.sdk.config_calls import ConfigOperations
from valhalla.sdk.creating import CreateArgs, creation
from valhalla.sdk.deployments import Deployments
from valhalla.sdk.events import Events
from valhalla.sdk.exports import Exports
from valhalla.sdk.failures import Failures
from valhalla.sdk.flag_calls import FlagOperations
from valhalla.sdk.further_calls import tables
from valhalla.sdk.graph import Graph
from valhalla.sdk.holds import Holds
from valhalla.sdk.honeypots import Honeypots
from valhalla.sdk.keys import Keys
from valhalla.sdk.lanes import Lanes
from valhalla.sdk.ledger import Ledger
from valhalla.sdk.limits import Limits
from valhalla.sdk.logs import Logs
from valhalla.sdk.maintenance import Maintenance
from valhalla.sdk.models import Draft, DryRun, Extension, Health, Page, Sandbox
from valhalla.sdk.notify import Notifications
from valhalla.sdk.opened import OpenSandbox
from valhalla.sdk.operations import Admin
from valhalla.sdk.paging import pages
from valhalla.sdk.policies import Policies
from valhalla.sdk.registries import Registry
from valhalla.sdk.reports import AuditEntry, LedgerReport, Readiness, ReapReport, Snapshot, Template
from valhalla.sdk.retention import Retention
from valhalla.sdk.smoke import Smoke
from valhalla.sdk.sources import Sources
from valhalla.sdk.system import System
from valhalla.sdk.traces import Traces
from valhalla.sdk.wire import Request
from valhalla.sdk.work import Heartbeats, Jobs, Schedules

T = TypeVar("T")


class Client:
    """Talks to a control plane. Without arguments it finds the one of the environment or the data directory.

    Connections are kept alive and any number of threads may share a client. Every method raises ``ApiProblem`` when
    refused, ``Unreachable`` when there is no answer.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        data_dir: Path | None = None,
        timeout: float = 30,
    ) -> None:
        # httpx takes 100 ms to import: only who makes a client pays for it
        from valhalla.sdk.transport import Transport

        self.endpoint = discovery.find(url, api_key, data_dir)
        self._transport = Transport(self.endpoint.url, self.endpoint.api_key, timeout)
        self.keys = Keys(self)
        self.jobs = Jobs(self)
        self.schedules = Schedules(self)
        self.heartbeats = Heartbeats(self)
        self.holds = Holds(self)
        self.alerts = Alerts(self)
        self.logs = Logs(self)
        self.events = Events(self)
        self.lanes = Lanes(self)
        self.admin = Admin(self)
        self.deployments = Deployments(self)
        self.smoke = Smoke(self)
        self.maintenance = Maintenance(self)
        self.actions = SecurityActions(self)
        self.blocklist = Blocklist(self)
        self.config = ConfigOperations(self)
        self.exports = Exports(self)
        self.failures = Failures(self)
        self.flags = FlagOperations(self)
        self.graph = Graph(self)
        self.honeypots = Honeypots(self)
        self.ledger = Ledger(self)
        self.limits = Limits(self)
        self.notifications = Notifications(self)
        self.policies = Policies(self)
        self.retention = Retention(self)
        self.sources = Sources(self)
        self.system = System(self)
        self.traces = Traces(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection now."""
        self._transport.close()

    def send(self, request: Request[T]) -> T:
        """Send any of ``valhalla.sdk.calls`` and return its typed answer."""
        return request.decode(self._transport.exchange(request))

    def document(self, request: Request[Any]) -> Any:
        """Send any of ``valhalla.sdk.calls`` and return the answer as it came."""
        return self._transport.exchange(request)

    def lines(
        self, path: str, query: dict[str, str], headers: dict[str, str], silence: float
    ) -> AbstractContextManager[Iterator[str]]:
        """Open a stream of lines; ``silence`` seconds without one end it. Raises what every method raises."""
        return self._transport.lines(path, query, headers, silence)

    def sandbox(self, name: str | None = None, **args: Unpack[CreateArgs]) -> AbstractContextManager[OpenSandbox]:
        """Make a sandbox for the length of a ``with`` block; it is destroyed however the block ends."""
        from valhalla.sdk.lending import lend

        return lend(self, creation(name, **args))

    def create(self, name: str | None = None, **args: Unpack[CreateArgs]) -> Sandbox:
        """Make a sandbox and wait until it runs; the answer holds its ``connection``. The caller destroys it."""
        return self.send(creation(name, **args))

    def plan(self, draft: Draft) -> DryRun:
        """Say what ``create`` would make."""
        return self.send(calls.plan(draft))

    def iterate(
        self,
        *,
        owner: str | None = None,
        status: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        include_destroyed: bool = False,
    ) -> Iterator[Sandbox]:
        """Every sandbox the key may see, page after page."""
        return pages(
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

    def get(self, ref: str) -> Sandbox:
        """Return a sandbox by id or name."""
        return self.send(calls.get(ref))

    def destroy(self, ref: str, *, wait: float | None = None) -> Sandbox:
        """Cut access at once; with ``wait`` stay up to that many seconds for the rest."""
        return self.send(calls.destroy(ref, wait=wait))

    def reset(self, ref: str) -> Sandbox:
        """Bring a sandbox back to its template: same credentials, fresh contents."""
        return self.send(calls.reset(ref))

    def snapshot(self, ref: str, template: str, *, replace: bool = False) -> Snapshot:
        """Copy what a sandbox's Postgres slice holds into a template that others can start from."""
        return self.send(calls.snapshot(ref, template, replace=replace))

    def templates(self) -> tuple[Template, ...]:
        """Return what a sandbox can be made from."""
        return self.send(calls.list_templates()).items

    def remove_template(self, name: str) -> None:
        """Remove a snapshot; sandboxes that were made from it stay."""
        self.send(calls.remove_template(name))

    def extend(self, ref: str, ttl: str) -> Extension:
        """Give a sandbox more time; the answer tells when the maximum cut it short."""
        return self.send(calls.extend(ref, ttl))

    def tables(self, ref: str) -> list[dict[str, Any]]:
        """Return the tables of a sandbox's Postgres slice, with their numbers of rows."""
        return self.send(tables(ref))

    def status(self, ref: str) -> Health:
        """Return a sandbox's health."""
        return self.send(calls.status(ref))

    def connection(self, ref: str) -> Connection:
        """Return how to enter a running sandbox."""
        return self.send(calls.connection(ref))

    def link(
        self, ref: str, kind: str, key: str, *, mirror: bool = False, sample: float = 1.0, replay: bool = False
    ) -> None:
        """Route events of (kind, key) to the sandbox."""
        self.send(calls.link(ref, kind, key, mirror=mirror, sample=sample, replay=replay))

    def unlink(self, ref: str, kind: str, key: str, *, unread: str | None = None) -> None:
        """End a route."""
        self.send(calls.unlink(ref, kind, key, unread=unread))

    def audit(self, ref: str | None = None) -> Iterator[AuditEntry]:
        """Every entry of the ledger, or of one sandbox."""
        if ref is None:
            return pages(self.send, lambda cursor: calls.audit(limit=100, cursor=cursor))
        return pages(self.send, lambda cursor: calls.sandbox_audit(ref, limit=100, cursor=cursor))

    def verify_ledger(self) -> LedgerReport:
        """Recompute the ledger's chain."""
        return self.send(calls.verify_ledger())

    def reap(self, *, dry_run: bool = False) -> ReapReport:
        """Run one pass of the reaper now."""
        return self.send(calls.reap(dry_run=dry_run))

    def registry(self, name: str) -> Registry:
        """Return the records of a registry: ``limits``, ``flags``, ``keys`` …, or a path that begins with a slash."""
        return Registry(self, name)

    def ready(self) -> Readiness:
        """Return whether the control plane can do its work; not being ready is no error here."""
        return self.send(calls.ready())

    def info(self) -> dict[str, Any]:
        """Return version, address, data directory and services."""
        return self.send(calls.info())

    # last, so that `list` above still names the type
    def list(
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
        return self.send(request)
