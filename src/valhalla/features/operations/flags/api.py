"""``/system/flags``: definitions, kill switch, exposures, and flags that nobody needs any more."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Response

from valhalla.features.operations.flags import previewing, rules, stale
from valhalla.features.operations.flags.contracts import Flag, Resolution
from valhalla.features.operations.flags.face import PREFIX, flag_face, made, rule_face
from valhalla.features.operations.flags.service import FlagService
from valhalla.features.operations.flags.sets import FlagSets
from valhalla.features.operations.flags.wire import (
    Counted,
    Exposed,
    ExposuresIn,
    ExposuresOut,
    KilledOut,
    KillIn,
    MovedOut,
    PreviewIn,
    PreviewOut,
    ResolvedOut,
    StaleFlag,
    StaleOut,
)
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.changes.followers import MAX_WAIT, Followers
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.registry import Record
from valhalla.kit.registry_routes import registry_router

Reader = Annotated[Principal, requires("flags:read")]
Writer = Annotated[Principal, requires("flags:write")]
Key = Annotated[str, Path(max_length=128)]
Days = Annotated[int, Query(ge=1, le=3650, description="how long a flag may stand unchanged")]
Environment = Annotated[str | None, Query(max_length=64)]
Watch = Annotated[str | None, Query(max_length=64, description="the revision that is known: answer when it is another")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds to wait for it")]
Reason = Annotated[str | None, Query(max_length=500)]


def routers(
    service: FlagService, sets: FlagSets, followers: Followers, clock: Clock, environment: str
) -> tuple[APIRouter, APIRouter]:
    """Return the routes of the flags and of the shared rules."""
    routes = APIRouter(prefix=PREFIX, tags=["flags"], responses=PROBLEMS, route_class=StrictRoute)
    _add_reports(routes, sets, service, clock, environment)
    _add_snapshot(routes, sets, followers, environment)

    @routes.post("/preview")
    @while_closed("read")
    async def preview(body: PreviewIn, principal: Reader) -> PreviewOut:
        """Say who would be served what by a definition, and what now. Nothing is stored or counted."""
        named = body.environment or environment
        now = sets.of(named)
        found = now.find(body.key)
        draft = made(body.key, body.definition, None if found is None else found[0], principal)
        rules.check(draft)
        then = sets.drafted(named, draft)
        # tens of milliseconds of pure work, which nobody else should wait for
        outlook = await asyncio.to_thread(previewing.compare, now, then, body.key, body.context, body.samples)
        return PreviewOut(
            samples=body.samples,
            varied=outlook.varied,
            before=None if found is None else dict(outlook.before),
            after=dict(outlook.after),
            moved=[MovedOut(**each._asdict()) for each in outlook.moved],
            context_before=None if outlook.one_before is None else _resolved(outlook.one_before),
            context_after=_resolved(outlook.one_after),
        )

    @routes.post("/{key}/kill")
    async def kill(key: Key, body: KillIn, principal: Writer) -> KilledOut:
        """Serve one variant, or the caller's default, to everybody until the flag is revived."""
        return _killed(await service.kill(principal, key, body.variant, body.reason))

    @routes.delete("/{key}/kill")
    async def revive(key: Key, principal: Writer, reason: Reason = None) -> KilledOut:
        """Serve again what the definition says."""
        return _killed(await service.revive(principal, key, reason))

    flags = registry_router(flag_face(service), service.db, service.settle, routes)
    return flags, registry_router(rule_face(service), service.db, service.settle)


def _resolved(found: Resolution) -> ResolvedOut:
    return ResolvedOut(
        variant=found.variant, reason=found.failure or found.reason, value=found.value, details=found.details
    )


def _killed(record: Record[Flag]) -> KilledOut:
    flag = record.value
    return KilledOut(key=record.key, killed=flag.killed, killVariant=flag.killVariant, version=record.version)


def _add_reports(routes: APIRouter, sets: FlagSets, service: FlagService, clock: Clock, environment: str) -> None:
    @routes.get("/stale")
    async def old(principal: Reader, days: Days = 30) -> StaleOut:
        """List flags that may be removed: expired, off or the same for everybody for long."""
        now, found = clock.now(), list[StaleFlag]()
        _, records = await service.db.read(service.flags.load)
        for record in sorted(records, key=lambda record: record.key):
            reasons = list(stale.reasons(record.value, record.updated_at, now, timedelta(days=days)))
            if reasons:
                owner = record.value.owner
                found.append(StaleFlag(key=record.key, owner=owner, reasons=reasons, updated_at=record.updated_at))
        return StaleOut(items=found)

    @routes.get("/exposures")
    async def exposures(principal: Reader) -> ExposuresOut:
        """Say how often each variant was served by this process since its start."""
        counted = [
            Exposed(key=key, environment=flags.environment, variants=counts)
            for flags in sets.made()
            for key, counts in sorted(flags.counts.items())
            if counts
        ]
        return ExposuresOut(items=counted)

    @routes.post("/exposures")
    async def expose(body: ExposuresIn, principal: Reader) -> Counted:
        """Take the counts of a client that evaluates by itself."""
        flags, counted = sets.of(body.environment or environment), 0
        for key, counts in body.counts.items():
            if flags.find(key) is None:
                continue
            counted += 1
            mine = flags.counts.setdefault(key, {})
            for variant, count in counts.items():
                if not variant or variant in flags.find(key)[0].variants:  # type: ignore[index]
                    mine[variant] = mine.get(variant, 0) + count
        return Counted(counted=counted)


def _add_snapshot(routes: APIRouter, sets: FlagSets, followers: Followers, environment: str) -> None:
    @routes.get("/snapshot", response_model=dict[str, Any])
    async def snapshot(
        principal: Reader,
        environment_named: Annotated[str | None, Query(alias="environment", max_length=64)] = None,
        watch: Watch = None,
        wait: Wait = 30.0,
    ) -> Response:
        """Give every definition at once to a client that evaluates by itself; 304 if nothing changed in time."""
        if watch is not None and not await followers.wait(watch, wait):
            return Response(status_code=304)
        named = environment_named
        flags = sets.of(named if named is not None and re.fullmatch(rules.ENVIRONMENT, named) else environment)
        definitions = [found[0] for key in flags if (found := flags.find(key)) is not None]
        document = {
            "revision": flags.revision,
            "environment": flags.environment,
            "flags": definitions,
            "rules": flags.shared,
        }
        return Response(msgspec.json.encode(document), media_type="application/json")
