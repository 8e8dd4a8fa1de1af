"""Who looks at alerts, and who may do something about them."""

from __future__ import annotations

from typing import Any

from tests.features.alerts.conftest import Scene

from valhalla.features.observability.alerts.contracts import Filter
from valhalla.kernel.principal import SYSTEM, Principal

READER = Principal("reader", "team", frozenset({"alerts:read"}))


WRITER = Principal("writer", "team", frozenset({"alerts:write"}))


async def only(scene: Scene) -> Any:
    [alert] = (await scene.service.page(SYSTEM, Filter())).items
    return alert
