"""The control plane about itself: liveness, readiness, metrics, info, the ledger, and what each problem means."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import RedirectResponse

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import NotFound
from valhalla.kit.audit import LedgerEntryOut, LedgerPage
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
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
    async def root() -> RedirectResponse:
        """Lead whoever opens the address in a browser to the documentation."""
        return RedirectResponse("docs")

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

    @routes.get("/system/audit/verify")
    async def verify(principal: Auditor) -> VerificationOut:
        """Check the ledger's chain and signatures from the first row to the last."""
        verdict = await runtime.db.run(runtime.ledger.verify)
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
