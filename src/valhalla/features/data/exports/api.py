"""``/system/exports``: have data written to files, follow that, and fetch them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse, RedirectResponse

from valhalla.features.data.exports.contracts import Status
from valhalla.features.data.exports.service import ExportService
from valhalla.features.data.exports.signing import PREFIX as DOWNLOADS
from valhalla.features.data.exports.wire import (
    ExportIn,
    ExportOut,
    ExportPage,
    LinkOut,
    LinksIn,
    LinksOut,
    SourceList,
    SourceOut,
)
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

PREFIX = "/system/exports"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("exports:read")]
Writer = Annotated[Principal, requires("exports:write")]
ExportId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]
Name = Annotated[str, Path(max_length=300, examples=["manifest.json"])]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The range that was asked for"},
    302: {"description": "Where the storage gives it out"},
}


def router(service: ExportService) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["exports"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get(PREFIX)
    async def list_exports(
        principal: Reader,
        status: Annotated[Status | None, Query()] = None,
        source: Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> ExportPage:
        """List exports of what the key may read, the newest first."""
        page = await service.page(principal, status=status, source=source, limit=limit, cursor=cursor)
        return ExportPage(items=[ExportOut.of(one) for one in page.items], next=page.next)

    @routes.post(PREFIX, status_code=202)
    async def export(body: ExportIn, response: Response, principal: Writer) -> ExportOut:
        """Have a job write files. The answer comes at once; follow its `Location`, or the topic `export.<id>`."""
        made = await service.request(principal, body.draft())
        response.headers["Location"] = f"{PREFIX}/{made.id}"
        return ExportOut.of(made)

    @routes.get(f"{PREFIX}/sources")
    async def sources(principal: Reader) -> SourceList:
        """List what can be exported, with the scope that it needs."""
        found = service.sources(principal)
        return SourceList(items=[SourceOut(name=name, scope=scope) for name, scope in found.items()])

    @routes.get(PREFIX + "/{export_id}")
    async def show(export_id: ExportId, principal: Reader) -> ExportOut:
        """Show one export: how far it is, and when it is completed its manifest."""
        return ExportOut.of(await service.get(principal, export_id))

    @routes.post(PREFIX + "/{export_id}/cancel")
    async def cancel(export_id: ExportId, principal: Writer) -> ExportOut:
        """End an export that is not finished; what it wrote is removed."""
        return ExportOut.of(await service.cancel(principal, export_id))

    @routes.post(PREFIX + "/{export_id}/links")
    async def links(export_id: ExportId, body: LinksIn, principal: Reader) -> LinksOut:
        """Make addresses that give the files to whoever has them, for a while, without a key."""
        until, found = await service.links(principal, export_id, timedelta(seconds=body.seconds))
        return LinksOut(items=[LinkOut(name=name, url=url) for name, url in found.items()], expires_at=until)

    @routes.get(PREFIX + "/{export_id}/files/{name}", response_class=Response, responses=_FILE)
    async def fetch(export_id: ExportId, name: Name, principal: Reader) -> Response:
        """Fetch a file of a completed export; `Range` goes on with what was interrupted."""
        return _given(await service.file(principal, export_id, name))

    @routes.get(DOWNLOADS + "{export_id}/{name}", response_class=Response, responses=_FILE)
    async def download(
        export_id: ExportId,
        name: Name,
        expires: Annotated[int, Query(ge=0, le=2**40)],
        signature: Annotated[str, Query(max_length=128)],
    ) -> Response:
        """Fetch a file by an address of `…/links`; no key is needed."""
        return _given(await service.linked(export_id, name, expires, signature))

    return routes


def _given(found: File | str) -> Response:
    if isinstance(found, str):
        return RedirectResponse(found, 302)
    # never shown by a browser, whatever somebody put into a log line
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    return FileResponse(found, media_type="application/octet-stream", filename=found.name, headers=headers)
