"""``/system/maintenance``: the state, its history, and the windows."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from pydantic import AwareDatetime

from valhalla.features.operations.maintenance.calendar import calendar
from valhalla.features.operations.maintenance.contracts import Occurrence, State
from valhalla.features.operations.maintenance.face import PREFIX, window_face, window_of
from valhalla.features.operations.maintenance.records import KEY
from valhalla.features.operations.maintenance.recurrence import check, stored, upcoming
from valhalla.features.operations.maintenance.service import MaintenanceService
from valhalla.features.operations.maintenance.standing import Keeper
from valhalla.features.operations.maintenance.wire import (
    MaintenanceOut,
    OccurrencesOut,
    Preview,
    PreviewIn,
    StateIn,
    StateOut,
    StatePage,
)
from valhalla.features.operations.maintenance.zones import instant, zone_of
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.registry import Change, Record
from valhalla.kit.registry_routes import registry_router
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.wire import PageQuery, WriteQuery

ROOT: Final = "/system/maintenance"
SEEN: Final = timedelta(days=92)
_NEXT: Final = 10
_FEED: Final = 500
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("maintenance:read")]
Writer = Annotated[Principal, requires("maintenance:write")]
Since = Annotated[
    AwareDatetime | None, Query(alias="from", examples=["2026-12-01T00:00:00Z"], description="now when absent")
]
Days = Annotated[int, Query(ge=1, le=92)]
Match = Annotated[str | None, Header(max_length=1000, description="the ETag of the state that was read")]


def state_router(
    service: MaintenanceService, keeper: Keeper, db: Database, settle: Callable[[], Awaitable[None]], clock: Clock
) -> APIRouter:
    """Return the routes of the state and the calendar; ``settle`` brings this process up to date after a change."""
    routes = APIRouter(prefix=ROOT, tags=["maintenance"], responses=PROBLEMS, route_class=StrictRoute)
    registry = service.records.state

    def shown(record: Record[State] | None, **more: Any) -> Response:
        document = {**_document(keeper, record), **more}
        headers = {} if record is None else {"ETag": record.etag}
        return Response(dumps(document), headers=headers, media_type="application/json")

    @routes.get("", response_model=MaintenanceOut)
    async def maintenance(principal: Reader) -> Response:
        """Say which mode holds, until when, and what is planned."""
        planned = [_occurrence(one) for one in keeper.upcoming(clock.now(), _NEXT, SEEN)]
        return shown(await db.read(registry.find, KEY), upcoming=planned)

    @routes.get("/state", response_model=StateOut)
    async def state(principal: Reader) -> Response:
        """Say which mode holds, and what was set."""
        return shown(await db.read(registry.find, KEY))

    @routes.post("/state", response_model=StateOut)
    @while_closed("write")
    async def set_state(
        body: StateIn, how: Annotated[WriteQuery, Query()], principal: Writer, if_match: Match = None
    ) -> Response:
        """Set the mode: here when this answers, in every other process within milliseconds.

        `normal` also ends a window that is under way; with `until` no window acts before that.
        """
        change = await service.set(
            principal,
            body.mode,
            body.reason,
            until=body.until,
            check=lambda version: Conditions(if_match).require("state", version),
            dry_run=how.dry_run,
        )
        if how.dry_run:
            preview = _preview(keeper, registry.decode(KEY, change.after or {}), change, clock)
            return Response(dumps(preview), media_type="application/json")
        # what is committed stays, and the feed catches up by itself
        with contextlib.suppress(Unavailable):
            await settle()
        return shown(await db.read(registry.find, KEY))

    @routes.get("/state/history", response_model=StatePage)
    async def history(query: Annotated[PageQuery, Query()], principal: Reader) -> Response:
        """Tell who set which mode, newest first."""
        page = await db.read(registry.history, KEY, limit=query.limit, cursor=query.cursor)
        items = [
            {
                "revision": change.revision,
                **{name: (change.after or {}).get(name) for name in ("mode", "reason", "until")},
                "actor": change.actor,
                "at": change.at,
            }
            for change in page.items
        ]
        return Response(dumps({"items": items, "next": page.next}), media_type="application/json")

    @routes.get("/occurrences", response_model=OccurrencesOut)
    async def occurrences(principal: Reader, since: Since = None, days: Days = 35) -> Response:
        """Say when the windows are within some days, those under way included, 500 at most."""
        after = since or clock.now()
        if not 2000 <= after.year < 2200:
            raise Invalid("windows are between the years 2000 and 2200")
        found = keeper.upcoming(after, _FEED, timedelta(days=days))
        document = {
            "from": after,
            "until": after + timedelta(days=days),
            "items": [_occurrence(one) for one in found],
            "more": len(found) >= _FEED,
        }
        return Response(dumps(document), media_type="application/json")

    @routes.get("/calendar.ics", response_class=Response, responses={200: {"content": {"text/calendar": {}}}})
    async def feed(principal: Reader) -> Response:
        """Return the windows of the next 92 days as an iCalendar feed."""
        now = clock.now()
        text = calendar(keeper.upcoming(now, _FEED, SEEN), now)
        return Response(text.encode("utf-8", "replace"), media_type="text/calendar; charset=utf-8")

    return routes


def window_router(
    service: MaintenanceService, db: Database, settle: Callable[[], Awaitable[None]], clock: Clock
) -> APIRouter:
    """Return the routes of the windows."""
    routes = APIRouter(prefix=PREFIX, tags=["maintenance"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/preview", response_model=Preview)
    @while_closed("read")
    async def preview(body: PreviewIn, principal: Reader) -> Response:
        """Say when a window would be the next ten times. Nothing is stored."""
        window = window_of("preview", body)
        check(window)
        after = clock.now() if body.after is None else instant(stored(body.after, window.zone), zone_of(window.zone))
        items = [_occurrence(one) for one in upcoming(window, after, _NEXT)]
        return Response(dumps({"items": items}), media_type="application/json")

    return registry_router(window_face(service.records.windows, clock), db, settle, routes)


def _occurrence(one: Occurrence) -> dict[str, Any]:
    return {"window": one.window, "mode": one.mode, "reason": one.reason, "start": one.start, "end": one.end}


def _document(keeper: Keeper, record: Record[State] | None) -> dict[str, Any]:
    standing = keeper.now()
    state = State() if record is None else record.value
    return {
        "mode": standing.mode,
        "reason": standing.reason,
        "source": standing.source,
        "window": standing.window,
        "since": standing.since,
        "until": standing.until,
        **_set(state),
        "version": 0 if record is None else record.version,
    }


def _set(state: State) -> dict[str, Any]:
    return {
        "set_mode": state.mode,
        "set_reason": state.reason,
        "set_by": state.actor or None,
        "set_at": state.since,
        "set_until": state.until,
    }


def _preview(keeper: Keeper, state: State, change: Change, clock: Clock) -> dict[str, Any]:
    """Return what would hold, had the state been set."""
    standing = keeper.timetable(state).standing(clock.now())
    return {
        **{name: getattr(standing, name) for name in ("mode", "reason", "source", "window", "since", "until")},
        **_set(state),
        "version": change.revision,
    }
