"""``/system/traces``: look at traces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from valhalla.features.observability.tracing.contracts import Filter, Node, Status, Stored
from valhalla.features.observability.tracing.service import TraceService
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("traces:read")]
TraceId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", examples=["4bf92f3577b34da6a3ce929d0e0e4736"])]
Name = Annotated[str | None, Query(min_length=1, max_length=300, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime | None, Query(examples=["2026-01-01T00:00:00Z"])]


class SpanOut(WireModel):
    """Something that took time."""

    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    status: Status
    started_at: datetime
    seconds: float
    correlation_id: str | None
    principal: str | None
    attributes: dict[str, Any] | None

    @classmethod
    def of(cls, span: Stored) -> Self:
        """Return the model of a span."""
        return cls(**{name: getattr(span, name) for name in SpanOut.model_fields})


class NodeOut(SpanOut):
    """A span with those that it caused. What lies deeper than 60 is left out."""

    children: list[NodeOut]

    @classmethod
    def tree(cls, node: Node, depth: int = 0) -> Self:
        """Return the model of a span and what is below it."""
        below = [NodeOut.tree(child, depth + 1) for child in node.children] if depth < 60 else []
        return cls(**{name: getattr(node.span, name) for name in SpanOut.model_fields}, children=below)


class TracePage(WireModel):
    """One page of traces by their first spans, the last to be received first."""

    items: list[SpanOut]
    next: str | None


class TraceOut(WireModel):
    """One trace as a tree; several roots are parts whose cause was not kept, or lies elsewhere."""

    trace_id: str
    spans: int
    roots: list[NodeOut]


def router(service: TraceService) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["traces"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/system/traces")
    async def list_traces(
        principal: Reader,
        name: Name = None,
        status: Annotated[Status | None, Query()] = None,
        slower_than: Annotated[float | None, Query(ge=0, le=86_400, allow_inf_nan=False)] = None,
        correlation_id: Name = None,
        since: Instant = None,
        until: Instant = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> TracePage:
        """List traces; ``name`` is method and route, ``slower_than`` in seconds."""
        wanted = Filter(
            name=name,
            status=status,
            slower_than=slower_than,
            correlation_id=correlation_id,
            since=since,
            until=until,
        )
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        return TracePage(items=[SpanOut.of(span) for span in page.items], next=page.next)

    @routes.get("/system/traces/{trace_id}")
    async def show_trace(trace_id: TraceId, principal: Reader) -> TraceOut:
        """Show a trace as a tree."""
        trace = await service.get(principal, trace_id)
        return TraceOut(trace_id=trace.trace_id, spans=trace.spans, roots=[NodeOut.tree(root) for root in trace.roots])

    return routes
