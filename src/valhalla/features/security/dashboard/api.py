"""``/system/security/dashboard``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Query

from valhalla.features.security.dashboard.contracts import READ, Span
from valhalla.features.security.dashboard.service import DashboardService
from valhalla.features.security.dashboard.wire import DashboardOut
from valhalla.kernel.principal import Principal
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

PREFIX: Final = "/system/security/dashboard"
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Reader = Annotated[Principal, requires(READ)]


def router(service: Callable[[], DashboardService]) -> APIRouter:
    """Return the route; ``service`` raises while nothing is composed."""
    routes = APIRouter(prefix=PREFIX, tags=["security"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.get("")
    async def security_dashboard(
        principal: Reader, window: Annotated[Span, Query(description="how far trends go back")] = "24h"
    ) -> DashboardOut:
        """Show mode, incidents, blocks, honeypots, what waits for approval, and trends; two seconds old at most."""
        return DashboardOut.model_validate(await service().look(window))

    return routes
