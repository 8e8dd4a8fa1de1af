"""``/system/security/blocklist``: block, unblock, import, and ask what rules do or would do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from valhalla.features.security.blocklist import store
from valhalla.features.security.blocklist.contracts import BlockRule, Facts
from valhalla.features.security.blocklist.doorman import asking
from valhalla.features.security.blocklist.face import PREFIX
from valhalla.features.security.blocklist.hits import Hits
from valhalla.features.security.blocklist.importing import Given
from valhalla.features.security.blocklist.intake import Intake
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.recent import Impact, Recent
from valhalla.features.security.blocklist.rules import made
from valhalla.features.security.blocklist.service import BlockService
from valhalla.features.security.blocklist.wire import (
    BlockModel,
    BlockOut,
    BlockQuery,
    CheckIn,
    CheckOut,
    DryOut,
    ImpactOut,
    ImportOut,
    ImportQuery,
    StatsOut,
    TestIn,
    UnblockIn,
)
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Unavailable
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.json import dumps
from valhalla.kit.registry import Change, Record
from valhalla.kit.registry_routes import Face, registry_router
from valhalla.kit.registry_routes.wire import ChangesOut, WriteQuery, change_document

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Writer = Annotated[Principal, requires("blocklist:write")]
Reader = Annotated[Principal, requires("blocklist:read")]
How = Annotated[BlockQuery, Query()]
_PREVIEW: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": BlockOut | DryOut, "description": "It was there before; or what would change (`dry_run`)"}
}
_TEXT: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string"}, "example": "203.0.113.7\n203.0.113.64/26\n"},
            "text/csv": {"schema": {"type": "string"}, "example": "value,reason,duration\n203.0.113.7,scan,4h\n"},
            "application/json": {
                "schema": {"type": "array", "items": {"type": "object"}},
                "example": [{"scope": "Ip", "value": "203.0.113.7", "type": "ban", "duration": "4h", "scenario": "x"}],
            },
        },
    }
}


def router(
    service: BlockService,
    face: Face[BlockRule],
    intake: Intake,
    keeper: Keeper,
    recent: Recent,
    hits: Hits,
    db: Database,
    now: Callable[[], datetime],
) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=PREFIX, tags=["blocklist"], responses=PROBLEMS, route_class=StrictRoute)
    settle = _settling(keeper.refresh)

    @routes.post("", status_code=201, response_model=BlockOut, responses=_PREVIEW)
    async def block(body: BlockModel, how: How, principal: Writer) -> Response:
        """Make a rule, or the one that is there as it is given; it holds in every process within milliseconds."""
        key, rule = made(**dict(body))
        change = await db.run(
            service.put, principal, key, rule, reason=how.reason, dry_run=how.dry_run, confirm=how.confirm
        )
        if how.dry_run:
            found = await asyncio.to_thread(recent.impact, [rule], keeper.index)
            return _json(_preview(face, change, found))
        await settle()
        record = await db.read(service.registry.find, key) or Record(key, rule, change.revision, change.at, change.at)
        headers = {"ETag": record.etag, "Location": face.location(key)}
        return _json(face.document(record), 201 if change.before is None else 200, headers)

    @routes.post("/unblock", response_model=ChangesOut)
    async def unblock(body: UnblockIn, how: Annotated[WriteQuery, Query()], principal: Writer) -> Response:
        """End a rule, named by its type and value in any form."""
        change = await db.run(
            service.remove,
            principal,
            **dict(body),
            reason=how.reason,
            dry_run=how.dry_run,
        )
        if not how.dry_run:
            await settle()
        return _json(_preview(face, change))

    @routes.post("/test")
    async def test(body: TestIn, principal: Reader) -> ImpactOut:
        """Say what rules would have done to the last 10,000 requests of this process, if they were not allowed."""
        wanted = [made(one.type, one.value)[1] for one in body.rules]
        return _impact(await asyncio.to_thread(recent.impact, wanted, keeper.index))

    @routes.post("/check")
    async def check(body: CheckIn, principal: Reader) -> CheckOut:
        """Say whether a request would be refused, and by which rule."""
        given = body.model_dump()
        country: str | None = given.pop("country")
        facts = Facts(**given, country=None if country is None else country.upper())
        index, at = keeper.index, now().timestamp()
        by, allowed = index.blocked.find(facts, at), index.allowed.find(facts, at)
        return CheckOut(
            blocked=by is not None and allowed is None,
            by=None if by is None else by.key,
            allowed_by=None if allowed is None else f"allow:{allowed.key}",
        )

    @routes.post("/import", openapi_extra=_TEXT)
    async def take(request: Request, how: Annotated[ImportQuery, Query()], principal: Writer) -> ImportOut:
        """Import a list: one value a line, CSV with a header, or JSON as CrowdSec exports it."""
        try:
            text = (await request.body()).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Invalid("the body is not UTF-8") from error
        done = await intake.take(
            text,
            Given(how.action, how.source, how.reason, how.severity, how.expires_at),
            actor=principal.id,
            now=now(),
            form=None if how.format == "auto" else how.format,
            facts=asking(),
            replace_source=how.replace,
            confirm=how.confirm,
            dry_run=how.dry_run,
        )
        if done.revision is not None:
            await settle()
        names = ("format", "rules", "added", "changed", "unchanged", "removed", "revision")
        return ImportOut(
            dry_run=how.dry_run,
            rejected=len(done.rejections),
            rejections=[{"line": line, "text": told, "why": why} for line, told, why in done.rejections[:20]],  # type: ignore[list-item]
            impact=None if done.impact is None else _impact(done.impact),
            **{name: getattr(done, name) for name in names},
        )

    @routes.get("/stats")
    async def stats(principal: Reader) -> StatsOut:
        """Count the rules, and name those that refuse most."""
        top = await db.read(store.top, 20)
        return StatsOut.model_validate(
            {
                "rules": dict(await db.read(store.counts)),
                "top": [{"key": one.key, "hits": one.hits, "last_hit_at": one.last_at} for one in top],
                "refused": hits.total,
                "revision": keeper.revision,
                "behind": keeper.behind,
            }
        )

    return registry_router(face, db, settle, routes, writes=["put", "patch", "delete", "bulk", "rollback"])


def _settling(refresh: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def settle() -> None:
        # what is committed stays, and the keeper catches up by itself
        with contextlib.suppress(Unavailable):
            await refresh()

    return settle


def _preview(face: Face[BlockRule], change: Change, found: Impact | None = None) -> dict[str, Any]:
    revision = change.revision if change.changed else None
    document = {"dry_run": change.dry_run, "revision": revision, "items": [change_document(face, change)]}
    return document if found is None else {**document, "impact": _impact(found).model_dump()}


def _impact(found: Impact) -> ImpactOut:
    said = f"would have blocked {found.blocked} of the last {found.of} requests, {found.with_key} with a valid key"
    return ImpactOut.model_validate({**found._asdict(), "summary": said})


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(dumps(document), status, headers, media_type="application/json")
