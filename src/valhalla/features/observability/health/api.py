"""``/system/health``: how it is, and how it was."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from valhalla.features.observability.health import rules, store
from valhalla.features.observability.health.contracts import Sample
from valhalla.features.observability.health.sampler import EVERY, Sampler
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Unavailable
from valhalla.kit.checks import Checks
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.version import VERSION

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("health:read")]
Historian = Annotated[Principal, requires("metrics:read")]


class CheckOut(WireModel):
    """One check."""

    ok: bool
    latency_ms: float
    reason: str | None
    help: str | None
    critical: bool = Field(description="whether readiness depends on it")
    age_seconds: float | None = Field(description="how old the evidence is")
    late: bool = Field(description="whether it was asked and has not answered")


class SampleOut(WireModel):
    """What one process counted at one instant."""

    at: datetime
    source: str = Field(examples=["host-1"])
    numbers: dict[str, float] = Field(examples=[{"sandboxes.running": 12, "events.waiting": 0}])


class HealthOut(WireModel):
    """How the control plane is."""

    status: str = Field(examples=["pass"], description="pass, warn or fail")
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]
    samples: list[SampleOut] = Field(description="the last sample of each process, none while the database is away")


class HistoryOut(WireModel):
    """What was counted, oldest first."""

    step_seconds: float
    items: list[SampleOut]


def router(db: Database, checks: Checks, sampler: Sampler, clock: Clock) -> APIRouter:
    """Return the routes over the checks and the samples."""
    routes = APIRouter(prefix="/system/health", tags=["health"], responses=PROBLEMS, route_class=StrictRoute)
    started = time.monotonic()

    @routes.get("")
    async def overview(principal: Reader) -> HealthOut:
        """Say how everything is now, with the last sample of each control plane."""
        report = await checks.run()
        try:
            samples = await db.read(store.latest, newer_than=clock.now() - timedelta(seconds=6 * EVERY))
        except Unavailable:
            samples = [sampler.last] if sampler.last is not None else []
        return HealthOut(
            status=rules.status(report),
            version=VERSION,
            uptime_seconds=round(time.monotonic() - started, 3),
            checks={result.name: CheckOut.model_validate(rules.check(result)) for result in report.results},
            samples=[_out(sample) for sample in samples],
        )

    @routes.get("/history")
    async def history(
        principal: Historian,
        start: Annotated[AwareDatetime | None, Query(alias="from", description="an hour before 'to'")] = None,
        end: Annotated[AwareDatetime | None, Query(alias="to", description="now")] = None,
        step: Annotated[
            float | None, Query(ge=rules.SHORTEST_STEP, le=86_400, description="seconds between two points")
        ] = None,
        source: Annotated[str | None, Query(max_length=63, description="only this process's")] = None,
    ) -> HistoryOut:
        """Show the numbers of the last days: of each process the last sample in each step."""
        begin, until, seconds = rules.span(start, end, step, now=clock.now())
        limit = 8 * rules.MOST_POINTS
        found = await db.read(store.history, start=begin, end=until, step=seconds, source=source, limit=limit)
        return HistoryOut(step_seconds=seconds, items=[_out(sample) for sample in found])

    return routes


def _out(sample: Sample) -> SampleOut:
    numbers: dict[str, Any] = dict(sample.numbers)
    return SampleOut(at=sample.at, source=sample.source, numbers=numbers)
