"""``/system/routes``: what is served, what would stop a request, what boots changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from valhalla.features.operations.routes import boots, rules
from valhalla.features.operations.routes.contracts import Route, RouteList, Times
from valhalla.features.operations.routes.index import Index
from valhalla.features.operations.routes.wire import BootOut, BootPage, MatchOut, RouteOut, RoutePage, StopOut
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires
from valhalla.kit.registry import Registry

PREFIX = "/system/routes"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("routes:read")]
Text = Annotated[str | None, Query(max_length=200)]
Size = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=500)]


def router(
    index: Callable[[], Index],
    registry: Registry[RouteList],
    db: Database,
    principal_of_key: Callable[[str], Principal | None],
) -> APIRouter:
    """Return the routes; ``index`` raises while nothing is served, ``principal_of_key`` finds a client by its id."""
    routes = APIRouter(prefix=PREFIX, tags=["routes"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def list_routes(
        principal: Reader,
        q: Annotated[str | None, Query(max_length=200, description="in path, name or summary")] = None,
        method: Annotated[str | None, Query(max_length=20)] = None,
        tag: Text = None,
        scope: Text = None,
        public: bool | None = None,
        flag: Annotated[str | None, Query(max_length=200, description="that reads this feature flag")] = None,
        limit: Size = 50,
        cursor: Cursor = None,
    ) -> RoutePage:
        """List every mounted route once, with what it asks for and what it did in this process."""
        of = index()
        found = rules.chosen(of.routes, text=q, method=method, tag=tag, scope=scope, public=public, flag=flag)
        position = paging.decode(cursor)
        after = (paging.text(position, "path"), paging.text(position, "id")) if position is not None else ("", "")
        rest = [route for route in found if (route.path, route.id) > after]
        shown, times = rest[:limit], of.times()
        last = paging.encode({"path": shown[-1].path, "id": shown[-1].id}) if len(rest) > limit else None
        return RoutePage(
            items=[_out(of, route, times.get(route.path, ())) for route in shown], total=len(found), next=last
        )

    @routes.get("/match")
    async def match(
        principal: Reader,
        path: Annotated[str, Query(max_length=2000, pattern="^/", examples=["/api/sandboxes"])],
        method: Annotated[str, Query(max_length=20, pattern="^[A-Za-z]+$")] = "GET",
        key: Annotated[str | None, Query(max_length=64, description="the id of an API key; absent: your own")] = None,
        scopes: Annotated[str | None, Query(max_length=2000, description="of a key, with commas; '' for none")] = None,
        anonymous: Annotated[bool, Query(description="without a key")] = False,
        address: Annotated[str | None, Query(max_length=60, examples=["203.0.113.7"])] = None,
    ) -> MatchOut:
        """Say which route would answer a request and what would stop it. Nothing is sent and nothing is counted."""
        asker = _asker(principal, key, scopes, anonymous=anonymous)
        of, verb = index(), method.upper()
        route, parameters, methods = of.answering(verb, path)
        stops = of.stops(verb, path, asker, address)
        return MatchOut(
            method=verb,
            path=path,
            allowed=not stops,
            route=None if route is None else _out(of, route, of.times().get(route.path, ())),
            parameters=parameters,
            methods=list(methods),
            stops=[StopOut(by=one.by, status=one.status, code=one.code, detail=one.detail) for one in stops],
        )

    def _asker(principal: Principal, key: str | None, scopes: str | None, *, anonymous: bool) -> Principal | None:
        if anonymous:
            return None
        if key is None and scopes is None:
            return principal
        if key is not None and key != principal.id:
            principal.require("keys:read")
        asker = principal if key is None else principal_of_key(key)
        if asker is None:
            raise Invalid("no active API key has this id", parameter="key")
        if scopes is None:
            return asker
        held = frozenset(text for text in scopes.split(",") if text)
        return Principal(asker.id, asker.owner, held, asker.kind, asker.limits)

    @routes.get("/changes")
    async def changes(principal: Reader, limit: Size = 20, cursor: Cursor = None) -> BootPage:
        """List the boots that served other routes than the one before, newest first."""
        page = await db.read(boots.boots, registry, limit, cursor)
        items: list[BootOut] = []
        for change in page.items:
            after, before, found = boots.read_change(registry, change)
            items.append(
                BootOut(
                    revision=change.revision,
                    at=change.at,
                    release=after.release,
                    before=before,
                    routes=len(after.routes),
                    added=list(found.added),
                    removed=list(found.removed),
                    changed={id_: list(members) for id_, members in found.changed.items()},
                )
            )
        return BootPage(items=items, next=page.next)

    return routes


def _out(index: Index, route: Route, times: Sequence[Times]) -> RouteOut:
    done = rules.measured(route, times)
    return RouteOut(
        id=route.id,
        path=route.path,
        methods=list(route.methods),
        name=route.name,
        kind=route.kind,
        summary=route.summary,
        tags=list(route.tags),
        scope=route.scope,
        public=route.public,
        deprecated=route.deprecated,
        flags=list(route.flags),
        limits=list(rules.limits_of(route, index.rules())),
        requests=done.requests,
        errors=done.errors,
        error_rate=done.error_rate,
        p50=done.p50,
        p99=done.p99,
    )
