"""How the registry of suites looks; its writes keep the timetable, and cannot give rights that the writer lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments.smoke import rules
from valhalla.features.operations.deployments.smoke.contracts import GOVERNED, Suite
from valhalla.features.operations.deployments.smoke.errors import SuiteNotFound
from valhalla.features.operations.deployments.smoke.wire import EXAMPLE, SuiteModel
from valhalla.kernel.principal import Principal
from valhalla.kit.outgoing_guard import Reach, TargetRefused
from valhalla.kit.registry import Change, Registry
from valhalla.kit.registry_routes import Face
from valhalla.work import Jobs
from valhalla.work.errors import NoSuchSchedule
from valhalla.work.schedules import Cron, Schedule, put, remove

PREFIX = "/system/deployment/smoke/suites"
TICK_JOB = "valhalla.smoke-scheduled"


def face_of(registry: Registry[Suite], reach: Reach, jobs: Jobs) -> Face[Suite]:
    """Return the face over ``registry``."""

    def make(key: str, model: SuiteModel, _before: Suite | None, _principal: Principal) -> Suite:
        return msgspec.convert({"name": key, **model.model_dump()}, Suite, strict=False)

    def check(conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
        for change in changes:
            suite = None if change.after is None else registry.decode(change.key, change.after)
            if suite is not None:
                _permitted(suite, principal, reach)
            if not change.dry_run:
                _timetable(conn, jobs, change.key, suite)

    return Face(
        registry=registry,
        prefix=PREFIX,
        tag="deployments",
        noun="smoke suite",
        read="deployments:read",
        write="deployments:write",
        model=SuiteModel,
        example=EXAMPLE,
        key="name",
        key_form=rules.NAME,
        key_example="api",
        make=make,
        check=check,
        filters=("base_url",),
        search=("base_url", "description"),
        missing=SuiteNotFound,
    )


def _permitted(suite: Suite, principal: Principal, reach: Reach) -> None:
    try:
        reach.check_url(suite.base_url)
    except TargetRefused as problem:
        raise TargetRefused(
            problem.detail,
            help="The operator declares targets with the setting 'smoke_targets'.",
            errors=[{"in": "body", "pointer": "/base_url", "detail": problem.detail}],
        ) from None
    if suite.on_failure is not None:
        principal.require(GOVERNED[suite.on_failure.registry])


def _timetable(conn: Connection, jobs: Jobs, key: str, suite: Suite | None) -> None:
    name = f"smoke.{key}"
    if suite is None or suite.cron is None:
        with contextlib.suppress(NoSuchSchedule):
            remove(conn, name)
        return
    timing = Cron(suite.cron, suite.timezone)
    put(conn, jobs, Schedule(name=name, job=TICK_JOB, timing=timing, args={"suite": key}, catch_up="skip"))
