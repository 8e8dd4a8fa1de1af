"""What balancers and orchestrators ask: ``/livez``, ``/readyz`` and ``/health``, and their older names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from valhalla.features.observability.health import rules
from valhalla.kernel.problems import NotFound
from valhalla.kit.json import dumps
from valhalla.runtime import Runtime
from valhalla.server.readiness import Readiness
from valhalla.version import VERSION

_HEALTH_JSON: Final = "application/health+json"
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"description": "It cannot do its work; the checks say why and what to do"}
}
Exclude = Annotated[
    list[str],
    Query(
        max_length=50, description="checks to leave out, repeated or parted by commas; unknown names are passed over"
    ),
]
Verbose = Annotated[str | None, Query(max_length=10, description="also say how long it runs, and which release")]


def add_probes(routes: APIRouter, runtime: Runtime) -> None:
    """Add the routes; nobody needs a key for them."""
    readiness = Readiness(runtime)
    started = datetime.now(UTC)

    def about() -> dict[str, Any]:
        seconds = (datetime.now(UTC) - started).total_seconds()
        return {"version": VERSION, "phase": runtime.features.health.phase, "uptime_seconds": round(seconds, 3)}

    @routes.get("/live")
    @routes.get("/livez", include_in_schema=False)
    async def live() -> dict[str, str]:
        """Answer while the process runs."""
        return {"status": "live"}

    @routes.get("/ready", responses=_NOT_READY)
    @routes.get("/readyz", include_in_schema=False)
    async def ready(response: Response, exclude: Exclude = [], verbose: Verbose = None) -> dict[str, Any]:  # noqa: B006
        """Check every part; 503 names what is away and what to do. Answers are a second old at most."""
        document = await readiness.document(exclude=_names(exclude))
        # closed writes are no reason to send readers elsewhere
        document["mode"] = runtime.features.maintenance.keeper.now().mode
        return _told(response, document, {} if verbose is None else about())

    @routes.get("/health", include_in_schema=False)
    async def health(
        request: Request,
        response: Response,
        exclude: Exclude = [],  # noqa: B006
        verbose: Verbose = None,
    ) -> Any:
        """Tell the same, as ``application/health+json`` to who accepts it."""
        if _HEALTH_JSON not in request.headers.get("accept", ""):
            return await ready(response, exclude, verbose)
        report = await readiness.report(exclude=_names(exclude))
        body = rules.health_json(report, version=VERSION, now=datetime.now(UTC))
        return Response(dumps(body), 200 if report.ok else 503, media_type=_HEALTH_JSON)

    @routes.get("/readyz/{check}", responses=_NOT_READY)
    async def one(response: Response, check: Annotated[str, Path(max_length=64)]) -> dict[str, Any]:
        """Ask one check, critical or not."""
        report = await readiness.report(only=[check])
        if not report.results:
            raise NotFound("there is no such check", help="/readyz lists the checks.")
        result = report.results[0]
        response.headers["Cache-Control"] = "no-store"
        response.status_code = 200 if result.ok else 503
        return {"check": result.name, **rules.check(result)}


def _told(response: Response, document: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    if document["status"] != "ready":
        response.status_code = 503
    return document | more


def _names(exclude: list[str]) -> set[str]:
    return {name.strip() for item in exclude for name in item.split(",")}
