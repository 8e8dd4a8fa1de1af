"""``/system/logs``: search what was logged, and send lines."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, model_validator

from valhalla.features.observability.logs.contracts import Filter, Level, Line, Origin, Sent
from valhalla.features.observability.logs.rules import MESSAGE
from valhalla.features.observability.logs.service import Lines, LogService
from valhalla.kernel.principal import Principal
from valhalla.kit.correlation import LONGEST
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires, while_closed

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("logs:read")]
Writer = Annotated[Principal, requires("logs:write")]
Name = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime | None, Query(examples=["2026-01-01T00:00:00Z"])]
_CORRELATION: Final = r"^[A-Za-z0-9._:@/+=-]+$"
_TEXT: Final = r"^[^\x00]*$"


class LineIn(WireModel):
    """One line."""

    message: str = Field(min_length=1, max_length=MESSAGE, examples=["payment declined"])
    level: Level = "info"
    category: str = Field("general", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", examples=["shop.payments"])
    correlation_id: str | None = Field(None, max_length=LONGEST, pattern=_CORRELATION)
    at: AwareDatetime | None = Field(None, description="when you noted it; the line stands where it was received")
    context: dict[str, Any] | None = Field(None, max_length=100)

    def sent(self) -> Sent:
        """Return the value."""
        return Sent(self.level, self.category, self.message, self.correlation_id, self.context, self.at)


class LogsIn(WireModel):
    """One line, or up to 1000 as ``items``."""

    message: str | None = Field(None, min_length=1, max_length=MESSAGE)
    level: Level = "info"
    category: str = Field("general", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    correlation_id: str | None = Field(None, max_length=LONGEST, pattern=_CORRELATION)
    at: AwareDatetime | None = None
    context: dict[str, Any] | None = Field(None, max_length=100)
    items: list[LineIn] | None = Field(None, min_length=1, max_length=1000)
    model_config = {
        "json_schema_extra": {"examples": [{"level": "warning", "category": "shop", "message": "payment declined"}]}
    }

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.message is None) == (self.items is None):
            raise ValueError("send either 'message' or 'items'")
        return self

    def lines(self) -> list[Sent]:
        """Return the values."""
        if self.items is not None:
            return [item.sent() for item in self.items]
        return [Sent(self.level, self.category, self.message or "", self.correlation_id, self.context, self.at)]


class ReceivedOut(WireModel):
    """What became of them; ``dropped`` found no room."""

    accepted: int
    dropped: int


class QueryIn(WireModel):
    """Which lines to return; what is absent is any."""

    level: Level | None = Field(None, description="this one and those above")
    category: str | None = Field(None, min_length=1, max_length=100, pattern=_TEXT)
    text: str | None = Field(None, min_length=1, max_length=300, pattern=_TEXT, description="beginnings of words")
    correlation_id: str | None = Field(None, min_length=1, max_length=LONGEST, pattern=_TEXT)
    trace_id: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    principal: str | None = Field(None, min_length=1, max_length=200, pattern=_TEXT)
    origin: Origin | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=500)
    after: str | None = Field(None, min_length=1, max_length=500, description="a place to follow from, oldest first")
    model_config = {"json_schema_extra": {"examples": [{"level": "warning", "text": "declined", "limit": 20}]}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cursor is not None and self.after is not None:
            raise ValueError("'cursor' goes back and 'after' goes on: send one of them")
        return self

    def wanted(self) -> Filter:
        """Return the filter."""
        return Filter(
            level=self.level,
            category=self.category,
            text=self.text,
            correlation_id=self.correlation_id,
            trace_id=self.trace_id,
            principal=self.principal,
            origin=self.origin,
            since=self.since,
            until=self.until,
        )


class LineOut(WireModel):
    """One stored line."""

    at: datetime
    id: int
    level: Level
    origin: Origin
    category: str
    message: str
    correlation_id: str | None
    trace_id: str | None
    principal: str | None
    owner: str | None
    context: dict[str, Any] | None

    @classmethod
    def of(cls, line: Line) -> Self:
        """Return the model of a line."""
        return cls(**{name: getattr(line, name) for name in cls.model_fields})


class LinePage(WireModel):
    """One page of lines, newest first, or with ``after`` oldest first; ``newest`` is the next ``after``."""

    items: list[LineOut]
    next: str | None
    newest: str

    @classmethod
    def of(cls, page: Lines) -> Self:
        """Return the model of a page."""
        return cls(items=[LineOut.of(line) for line in page.items], next=page.next, newest=page.newest)


def router(service: LogService) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/system/logs", tags=["logs"], responses=PROBLEMS, route_class=StrictRoute)

    async def search(principal: Principal, asked: QueryIn) -> LinePage:
        if asked.after is not None:
            page = await service.after(principal, asked.wanted(), limit=asked.limit, cursor=asked.after)
        else:
            page = await service.page(principal, asked.wanted(), limit=asked.limit, cursor=asked.cursor)
        return LinePage.of(page)

    @routes.get("")
    async def list_logs(
        principal: Reader,
        level: Annotated[Level | None, Query()] = None,
        category: Name = None,
        text: Name = None,
        correlation_id: Name = None,
        principal_id: Annotated[str | None, Query(alias="principal", min_length=1, max_length=200)] = None,
        origin: Annotated[Origin | None, Query()] = None,
        since: Instant = None,
        until: Instant = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> LinePage:
        """List lines, newest first; ``level`` stands for those above it, too."""
        wanted = Filter(
            level=level,
            category=category,
            text=text,
            correlation_id=correlation_id,
            principal=principal_id,
            origin=origin,
            since=since,
            until=until,
        )
        page = await service.page(principal, wanted, limit=limit, cursor=cursor)
        return LinePage.of(page)

    @routes.post("/query")
    @while_closed("read")
    async def query_logs(principal: Reader, body: QueryIn) -> LinePage:
        """Search with a filter that is too long, or too private, for an address; with ``after``, follow."""
        return await search(principal, body)

    @routes.post("", status_code=202)
    @while_closed("write")
    async def send_logs(principal: Writer, body: LogsIn) -> ReceivedOut:
        """Send lines. Who sent them, and when they were received, is noted by the control plane."""
        received = service.take(principal, body.lines())
        return ReceivedOut(accepted=received.accepted, dropped=received.dropped)

    return routes
