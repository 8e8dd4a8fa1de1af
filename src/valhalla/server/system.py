"""The control plane about itself: liveness, readiness, metrics, info, the ledger, and what each problem means."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import RedirectResponse

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, NotFound
from valhalla.kit.audit import LedgerEntryOut, LedgerPage
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.kit.ledger import Anchor
from valhalla.runtime import Runtime
from valhalla.server import problem_pages
from valhalla.server.metrics import PlaneMetrics
from valhalla.server.probes import add_probes
from valhalla.server.problem_kinds import problem_kinds
from valhalla.version import VERSION

Auditor = Annotated[Principal, requires("audit:read")]
Known = Annotated[Principal, requires("sandbox:read")]


class FaultOut(WireModel):
    """The first row that is not as it was written."""

    kind: str
    seq: int | None
    entry: int | None
    detail: str


class VerificationOut(WireModel):
    """The verdict on the whole ledger."""

    ok: bool
    entries: int
    sealed: int
    unsealed: int
    checkpoints: int
    fault: FaultOut | None


class CheckpointOut(WireModel):
    """How the chain stood, and the same as a signed note: what to keep elsewhere."""

    size: int
    hash: str
    sealed_at: datetime
    note: str


class CheckpointPage(WireModel):
    """Checkpoints, newest first, with the name and the public key that they are signed by."""

    origin: str
    public_key: str
    items: list[CheckpointOut]
    next: str | None


class LinkOut(WireModel):
    """An entry as the chain has it: its hash is SHA-256 of the hash before, ``id`` (8 bytes), ``mac`` and ``said``."""

    seq: int
    id: int
    mac: str
    said: str


class LinkPage(WireModel):
    """Entries in the order of the chain; ``next`` is the next ``after``."""

    items: list[LinkOut]
    next: int | None


class ProblemOut(WireModel):
    """What a problem's code means."""

    code: str
    title: str
    status: int
    meaning: str
    help: str


def router(runtime: Runtime) -> APIRouter:
    """Return the routes over the running control plane."""
    routes = APIRouter(tags=["system"], responses=PROBLEMS, route_class=StrictRoute)
    add_probes(routes, runtime)
    _pages(routes, runtime)
    _ledger(routes, runtime)

    @routes.get("/system/info")
    async def info(principal: Known) -> dict[str, Any]:
        """Say what runs here."""
        document: dict[str, Any] = {"version": VERSION, "services": runtime.services()}
        document["sandboxes"] = dict(await runtime.sandboxes.counts()) if principal.is_admin else {}
        document["templates"] = runtime.sandboxes.templates.names()
        if principal.is_admin:
            document |= {"cell": runtime.cell.cell, "data_dir": str(runtime.settings.data_dir.resolve())}
        return document

    @routes.get("/problems/{code}", response_model=ProblemOut, responses={200: problem_pages.HTML})
    async def problem(code: Annotated[str, Path(max_length=64, examples=["not-found"])], request: Request) -> Any:
        """Explain a problem's code, as a page to whoever asks for ``text/html``."""
        kind = problem_kinds().get(code)
        if kind is None:
            raise NotFound("there is no problem of this code")
        meaning = inspect.getdoc(kind) or ""
        if problem_pages.wants_html(request.headers.get("accept")):
            return problem_pages.page(code, kind, meaning)
        return ProblemOut(code=code, title=kind.title, status=kind.status, meaning=meaning, help=kind.help)

    return routes


def _pages(routes: APIRouter, runtime: Runtime) -> None:
    plane = PlaneMetrics(runtime)
    runtime.features.health.sampler.numbers = plane.numbers

    @routes.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:
        """Lead whoever opens the address in a browser to the console, and programs to the documentation."""
        browser = problem_pages.wants_html(request.headers.get("accept"))
        return RedirectResponse("console/" if browser else "docs", headers={"Vary": "Accept"})

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Render the metrics for Prometheus."""
        return Response(await plane.render(), media_type=CONTENT_TYPE_LATEST)


def _ledger(routes: APIRouter, runtime: Runtime) -> None:
    @routes.get("/system/audit")
    async def audit(
        principal: Auditor,
        kind: Annotated[str | None, Query(max_length=100)] = None,
        subject: Annotated[str | None, Query(max_length=200)] = None,
        actor: Annotated[str | None, Query(max_length=100)] = None,
        action: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> LedgerPage:
        """List what happened, newest first."""
        page = await runtime.db.read(
            runtime.ledger.page,
            kind=kind,
            subject=subject,
            actor=actor,
            action=action,
            limit=limit,
            cursor=cursor,
        )
        return LedgerPage(items=LedgerEntryOut.each(page.items), next=page.next)

    @routes.get("/system/audit/checkpoints")
    async def checkpoints(
        principal: Auditor,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> CheckpointPage:
        """List what was signed of the ledger; whoever keeps one elsewhere can prove that it was not rewritten."""
        ledger = runtime.ledger
        page = await runtime.db.read(ledger.witnesses, limit=limit, cursor=cursor)
        items = [
            CheckpointOut(size=each.size, hash=each.hash.hex(), sealed_at=each.sealed_at, note=each.note)
            for each in page.items
        ]
        return CheckpointPage(origin=ledger.origin, public_key=ledger.verifier, items=items, next=page.next)

    @routes.get("/system/audit/export")
    async def export(
        principal: Auditor,
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> LinkPage:
        """List entries of the chain in its order, with what recomputes their hashes without trusting this server."""
        rows = await runtime.db.read(runtime.ledger.export, after=after, limit=limit)
        links = [LinkOut(**row) for row in rows]
        return LinkPage(items=links, next=links[-1].seq if len(links) == limit else None)

    @routes.get("/system/audit/verify")
    async def verify(
        principal: Auditor,
        size: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        hash: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,  # noqa: A002 - the name on the wire
    ) -> VerificationOut:
        """Check the ledger's chain and signatures from the first row to the last.

        With ``size`` and ``hash`` of a checkpoint that was kept elsewhere also that it still has what it had then.
        """
        if (size is None) != (hash is None):
            raise Invalid("query: 'size' and 'hash' go together")
        anchor = None if size is None or hash is None else Anchor(size, bytes.fromhex(hash))
        verdict = await runtime.db.run(runtime.ledger.verify, anchor=anchor)
        fault = verdict.fault
        return VerificationOut(
            ok=verdict.ok,
            entries=verdict.entries,
            sealed=verdict.sealed,
            unsealed=verdict.unsealed,
            checkpoints=verdict.checkpoints,
            fault=None
            if fault is None
            else FaultOut(kind=str(fault.kind), seq=fault.seq, entry=fault.entry, detail=fault.detail),
        )
