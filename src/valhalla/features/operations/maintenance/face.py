"""How the registry of windows looks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from valhalla.features.operations.maintenance.contracts import Window
from valhalla.features.operations.maintenance.errors import WindowNotFound
from valhalla.features.operations.maintenance.recurrence import NAME, stored, upcoming
from valhalla.features.operations.maintenance.wire import WindowModel, WindowState
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Record, Registry
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/maintenance/windows"


def window_face(registry: Registry[Window], clock: Clock) -> Face[Window]:
    """Return ``/system/maintenance/windows``."""

    def state(record: Record[Window]) -> Mapping[str, Any]:
        found = upcoming(record.value, clock.now(), 1)
        return {
            "next_start": found[0].start if found else None,
            "next_end": found[0].end if found else None,
        }

    return Face(
        registry=registry,
        prefix=PREFIX,
        tag="maintenance",
        noun="maintenance window",
        read="maintenance:read",
        write="maintenance:write",
        model=WindowModel,
        example={
            "start": "2026-12-06T02:00:00",
            "end": "2026-12-06T04:00:00",
            "zone": "America/Toronto",
            "rrule": "FREQ=WEEKLY;BYDAY=SU",
            "reason": "weekly upgrade",
        },
        key="name",
        key_form=NAME,
        key_example="weekly-upgrade",
        make=_made,
        more=WindowState,
        state=state,
        filters=("mode", "enabled"),
        search=("reason",),
        missing=WindowNotFound,
        reserved=frozenset({"preview"}),
        while_closed="write",
    )


def window_of(name: str, model: WindowModel) -> Window:
    """Return what is to be stored; times with an offset are set into the window's zone.

    Raises:
        BadWindow: the zone is unknown, or a time cannot be.
    """
    return Window(
        name=name,
        start=stored(model.start, model.zone),
        end=stored(model.end, model.zone),
        zone=model.zone,
        rrule=None if model.rrule is None else model.rrule.upper().removeprefix("RRULE:"),
        mode=model.mode,
        reason=model.reason,
        enabled=model.enabled,
    )


def _made(key: str, model: Any, before: Window | None, principal: Principal) -> Window:
    del before, principal
    return window_of(key, model)
