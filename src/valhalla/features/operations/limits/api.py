"""``/system/rate-limits``: the rules, their usage, and what they would say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.errors import LimitNotFound
from valhalla.features.operations.limits.rules import NAME, Request
from valhalla.features.operations.limits.wire import LimitModel, TestIn, TestOut, UsageOut
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face, registry_router

if TYPE_CHECKING:
    from valhalla.features.operations.limits.feature import Counting

PREFIX = "/system/rate-limits"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires("limits:read")]
Top = Annotated[int, Query(ge=1, le=100, description="how many talkers of each rule")]


def router(
    registry: Registry[LimitRule],
    db: Database,
    settle: Callable[[], Awaitable[None]],
    counting: Callable[[], Counting | None],
) -> APIRouter:
    """Return the routes; ``counting`` is who enforces, None while nobody does."""
    routes = APIRouter(prefix=PREFIX, tags=["limits"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("/usage")
    async def usage(principal: Reader, top: Top = 10) -> UsageOut:
        """Say what became of each rule's requests in all processes, and who takes most."""
        gate = counting()
        return UsageOut.model_validate({"items": [], "buckets": 0} if gate is None else await gate.usage_of_all(top))

    @routes.post("/test")
    @while_closed("read")
    async def test(body: TestIn, principal: Reader) -> TestOut:
        """Say which rules would count a request, under which name, and whether it would pass. Takes nothing."""
        gate = counting()
        request = Request(body.method.upper(), body.path, body.route or body.path, body.address, body.owner, body.key)
        return TestOut.model_validate({"allowed": True, "verdicts": []} if gate is None else gate.explain(request))

    face = Face(
        registry=registry,
        prefix=PREFIX,
        tag="limits",
        noun="rate limit",
        read="limits:read",
        write="limits:write",
        model=LimitModel,
        example={"rate": "100/minute", "scope": "key"},
        key="name",
        key_form=NAME,
        key_example="per-key",
        filters=("scope", "enabled", "shadow", "count"),
        search=("description", "rate"),
        missing=LimitNotFound,
        reserved=frozenset({"usage", "test"}),
    )
    return registry_router(face, db, settle, routes)
