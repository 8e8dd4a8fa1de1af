"""``/system/errors``: look at what nobody expected, and settle it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, Field

from valhalla.features.observability.failures.contracts import Failure, Filter, Status
from valhalla.features.observability.failures.service import FailureService
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("errors:read")]
Writer = Annotated[Principal, requires("errors:write")]
ErrorId = Annotated[str, Path(max_length=64, examples=["k3v9x0q2m1n8b7c6"])]
Text = Annotated[str | None, Query(min_length=1, max_length=300)]


class NoteIn(WireModel):
    """Why."""

    note: str | None = Field(None, min_length=1, max_length=500)
    model_config = {"json_schema_extra": {"examples": [{"note": "fixed in the next release"}]}}


class ErrorOut(WireModel):
    """One kind of unexpected error."""

    id: str
    kind: str
    message: str
    route: str
    place: str
    status: Status
    count: int
    first_at: datetime
    last_at: datetime
    last_correlation: str
    last_principal: str | None
    version: str
    settled_at: datetime | None
    settled_by: str | None
    note: str | None

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """Return the model of an error."""
        return cls(**{name: getattr(failure, name) for name in cls.model_fields})


class ErrorDetailOut(ErrorOut):
    """The same with a traceback."""

    fingerprint: str
    sample: str


class ErrorPage(WireModel):
    """One page of errors, the last to happen first."""

    items: list[ErrorOut]
    next: str | None


_SILENT: Final = NoteIn(note=None)


def router(service: FailureService) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/system/errors", tags=["errors"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_errors(
        principal: Reader,
        status: Annotated[Status | None, Query()] = None,
        kind: Text = None,
        route: Text = None,
        text: Text = None,
        since: Annotated[AwareDatetime | None, Query(examples=["2026-01-01T00:00:00Z"])] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> ErrorPage:
        """List what nobody expected; an error that repeats is one item."""
        wanted = Filter(status=status, kind=kind, route=route, text=text, since=since)
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        return ErrorPage(items=[ErrorOut.of(each) for each in page.items], next=page.next)

    @routes.get("/{error_id}")
    async def show(error_id: ErrorId, principal: Reader) -> ErrorDetailOut:
        """Show one error with a traceback."""
        return ErrorDetailOut.of(await service.get(principal, error_id))

    @routes.post("/{error_id}/resolve")
    async def resolve(error_id: ErrorId, principal: Writer, body: NoteIn = _SILENT) -> ErrorOut:
        """Say that it is mended; if it happens again it is open again, and told again."""
        return ErrorOut.of(await service.settle(principal, error_id, "resolved", body.note))

    @routes.post("/{error_id}/mute")
    async def mute(error_id: ErrorId, principal: Writer, body: NoteIn = _SILENT) -> ErrorOut:
        """Count it and say nothing of it."""
        return ErrorOut.of(await service.settle(principal, error_id, "muted", body.note))

    @routes.post("/{error_id}/reopen")
    async def reopen(error_id: ErrorId, principal: Writer, body: NoteIn = _SILENT) -> ErrorOut:
        """Look at it again."""
        return ErrorOut.of(await service.settle(principal, error_id, "open", body.note))

    return routes
