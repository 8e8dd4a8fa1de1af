"""``/system/heartbeats``: who says that it lives; a dead man's switch for jobs that run elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.work.heartbeats.contracts import Heartbeat, Promise, Pulse
from valhalla.work.heartbeats.desk import HeartbeatDesk

Reader = Annotated[Principal, requires("heartbeats:read")]
Writer = Annotated[Principal, requires("heartbeats:write")]
_TOKENS = r"^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63}){0,7}$"
HeartbeatName = Annotated[str, Path(max_length=512, pattern=_TOKENS, examples=["backup.nightly"])]
Seconds = Annotated[float | None, Query(gt=0, le=300_000_000)]


class PromiseIn(WireModel):
    """What a source promises, in seconds."""

    interval: float = Field(gt=0, le=150_000_000, examples=[86_400], description="it beats this often")
    timeout: float | None = Field(None, gt=0, le=300_000_000, description="silence that is missed; twice the interval")
    grace: float | None = Field(None, gt=0, le=300_000_000, description="what a run that said it began may take")


class HeartbeatOut(WireModel):
    """A source and how it is; ``waiting`` was never heard of, which is not healthy."""

    name: str
    status: Pulse
    reason: str | None
    interval: float
    timeout: float
    grace: float | None
    expected_since: datetime
    last_beat_at: datetime | None
    started_at: datetime | None = Field(description="a run has begun and not ended")
    took: float | None = Field(description="seconds of the last run that said it began")
    changed_at: datetime

    @classmethod
    def of(cls, heartbeat: Heartbeat) -> Self:
        """Show a source."""
        return cls.model_validate(msgspec.structs.asdict(heartbeat))


class HeartbeatPage(WireModel):
    """One page of sources."""

    items: list[HeartbeatOut]
    next: str | None


def router(desk: HeartbeatDesk) -> APIRouter:
    """Return the routes over ``desk``."""
    routes = APIRouter(prefix="/system/heartbeats", tags=["heartbeats"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_heartbeats(
        principal: Reader,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> HeartbeatPage:
        """List who is expected to beat, by name."""
        page = await desk.page(limit=limit, cursor=cursor)
        return HeartbeatPage(items=[HeartbeatOut.of(one) for one in page.items], next=page.next)

    @routes.get("/{name}")
    async def get(name: HeartbeatName, principal: Reader) -> HeartbeatOut:
        """Show one source."""
        return HeartbeatOut.of(await desk.read(name))

    @routes.put("/{name}")
    async def expect(name: HeartbeatName, body: PromiseIn, principal: Writer) -> HeartbeatOut:
        """Expect a source from now on, or change what it promises."""
        promise = Promise(interval=body.interval, timeout=body.timeout, grace=body.grace)
        return HeartbeatOut.of(await desk.expect(principal, name, promise))

    @routes.delete("/{name}", status_code=204)
    async def forget(name: HeartbeatName, principal: Writer) -> None:
        """Expect a source no longer."""
        await desk.forget(principal, name)

    _signs(routes, desk)
    return routes


def _signs(routes: APIRouter, desk: HeartbeatDesk) -> None:
    @routes.post("/{name}")
    async def alive(
        name: HeartbeatName,
        principal: Writer,
        interval: Seconds = None,
        timeout: Seconds = None,  # noqa: ASYNC109 - the name on the wire
        grace: Seconds = None,
    ) -> HeartbeatOut:
        """Say that it lives, or that the run that began has ended well; ``interval`` declares one nobody expects."""
        promise = None if interval is None else Promise(interval=interval, timeout=timeout, grace=grace)
        return HeartbeatOut.of(await desk.sign(principal, name, "alive", promise=promise))

    @routes.post("/{name}/start")
    async def start(
        name: HeartbeatName,
        principal: Writer,
        interval: Seconds = None,
        timeout: Seconds = None,  # noqa: ASYNC109 - the name on the wire
        grace: Seconds = None,
    ) -> HeartbeatOut:
        """Say that a run begins: it must end within its grace."""
        promise = None if interval is None else Promise(interval=interval, timeout=timeout, grace=grace)
        return HeartbeatOut.of(await desk.sign(principal, name, "start", promise=promise))

    @routes.post("/{name}/fail")
    async def fail(
        name: HeartbeatName, principal: Writer, reason: Annotated[str, Query(max_length=500)] = ""
    ) -> HeartbeatOut:
        """Say that it failed: it is missed at once, until it beats again."""
        return HeartbeatOut.of(await desk.sign(principal, name, "fail", promise=None, reason=reason))
