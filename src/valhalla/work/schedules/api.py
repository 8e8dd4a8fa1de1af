"""``/system/schedules``: the timetable of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, Field

from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.work.loops import Loop
from valhalla.work.schedules.contracts import CatchUp, Cron, Every, Once, Overlap, Schedule, Timing
from valhalla.work.schedules.desk import BUILT_IN, ScheduleDesk, upcoming
from valhalla.work.wire import Name, SubmittedOut

Reader = Annotated[Principal, requires("schedules:read")]
Writer = Annotated[Principal, requires("schedules:write")]
ScheduleName = Annotated[str, Path(max_length=200, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", examples=["nightly"])]


class CronModel(WireModel):
    """Five cron fields in a time zone."""

    type: Literal["cron"]
    expression: str = Field(max_length=200, examples=["30 2 * * *"])
    timezone: str = Field("UTC", max_length=64, examples=["Europe/Berlin"])

    def value(self) -> Timing:
        """Return it as a timing."""
        return Cron(self.expression, self.timezone)


class EveryModel(WireModel):
    """Every so many seconds of elapsed time from ``start`` on."""

    type: Literal["every"]
    seconds: float = Field(ge=1, le=315_360_000)
    start: AwareDatetime

    def value(self) -> Timing:
        """Return it as a timing."""
        return Every(self.seconds, self.start)


class OnceModel(WireModel):
    """At one instant."""

    type: Literal["once"]
    at: AwareDatetime

    def value(self) -> Timing:
        """Return it as a timing."""
        return Once(self.at)


TimingModel = Annotated[CronModel | EveryModel | OnceModel, Field(discriminator="type")]


class ScheduleIn(WireModel):
    """When which job is submitted."""

    job: Name = Field(examples=["export.make"])
    timing: TimingModel = Field(examples=[{"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"}])
    args: dict[str, Any] = Field(default_factory=dict)
    catch_up: CatchUp = Field("one", description="what becomes of runs that nobody was there for")
    overlap: Overlap = Field("skip", description="what becomes of a run whose predecessor has not finished")
    jitter: float = Field(0, ge=0, le=86_400, description="a run begins up to so many seconds late")
    paused: bool = False


class ScheduleOut(WireModel):
    """A schedule, and what it did last."""

    name: str
    job: str
    timing: dict[str, Any]
    args: Mapping[str, Any]
    catch_up: CatchUp
    overlap: Overlap
    jitter: float
    paused: bool
    built_in: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job: str | None
    last_error: str | None
    runs: list[datetime] = Field(description="the next runs, without jitter")

    @classmethod
    def of(cls, schedule: Schedule, runs: list[datetime]) -> Self:
        """Show a schedule."""
        members = msgspec.structs.asdict(schedule)
        members["timing"] = msgspec.to_builtins(schedule.timing)
        return cls.model_validate({**members, "runs": runs, "built_in": schedule.name.startswith(BUILT_IN)})


class LoopOut(WireModel):
    """What a control plane repeats by itself, without a job."""

    name: str
    interval: float = Field(description="seconds between two signs of life")
    what: str
    heartbeat: str


class SchedulePage(WireModel):
    """One page of schedules; ``loops`` are those of the control plane that answers."""

    items: list[ScheduleOut]
    loops: list[LoopOut]
    next: str | None


def router(desk: ScheduleDesk, loops: Mapping[str, Loop]) -> APIRouter:
    """Return the routes over ``desk``; ``loops`` go by the names of their heartbeats."""
    routes = APIRouter(prefix="/system/schedules", tags=["schedules"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_schedules(
        principal: Reader,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> SchedulePage:
        """List the schedules by name, and what the control plane repeats without one."""
        page = await desk.page(limit=limit, cursor=cursor)
        return SchedulePage(
            items=[ScheduleOut.of(one, upcoming(one, 1)) for one in page.items],
            loops=[
                LoopOut(name=BUILT_IN + loop.name, interval=loop.times.interval, what=loop.what, heartbeat=heartbeat)
                for heartbeat, loop in loops.items()
            ],
            next=page.next,
        )

    @routes.get("/{name}")
    async def get(name: ScheduleName, principal: Reader, runs: Annotated[int, Query(ge=0, le=100)] = 5) -> ScheduleOut:
        """Show one schedule with its next runs."""
        return ScheduleOut.of(*await desk.read(name, runs))

    _changes(routes, desk)
    return routes


def _changes(routes: APIRouter, desk: ScheduleDesk) -> None:
    @routes.put("/{name}")
    async def put(name: ScheduleName, body: ScheduleIn, principal: Writer) -> ScheduleOut:
        """Write a schedule; one with the same timing keeps its next run."""
        schedule = Schedule(
            name=name,
            job=body.job,
            timing=body.timing.value(),
            args=body.args,
            catch_up=body.catch_up,
            overlap=body.overlap,
            jitter=body.jitter,
            paused=body.paused,
        )
        saved = await desk.put(principal, schedule)
        return ScheduleOut.of(saved, upcoming(saved, 5))

    @routes.delete("/{name}", status_code=204)
    async def remove(name: ScheduleName, principal: Writer) -> None:
        """Remove a schedule; jobs that it submitted go on."""
        await desk.remove(principal, name)

    @routes.post("/{name}/run", status_code=201, responses={200: {"model": SubmittedOut}})
    async def run_now(name: ScheduleName, response: Response, principal: Writer) -> SubmittedOut:
        """Submit its job once, besides the timetable; 200 when the last one still runs and must not be overlapped."""
        made = await desk.run_now(principal, name)
        response.status_code = 201 if made.created else 200
        return SubmittedOut(id=made.id, created=made.created)

    @routes.post("/{name}/pause")
    async def pause(name: ScheduleName, principal: Writer) -> ScheduleOut:
        """Stop a schedule for a while."""
        return ScheduleOut.of(await desk.pause(principal, name, paused=True), [])

    @routes.post("/{name}/resume")
    async def resume(name: ScheduleName, principal: Writer) -> ScheduleOut:
        """Let a paused schedule go on; what was missed follows its ``catch_up``."""
        schedule = await desk.pause(principal, name, paused=False)
        return ScheduleOut.of(schedule, upcoming(schedule, 5))
