"""What a control plane has told last, ready to be decided by: never changed, only replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec

from valhalla.features.operations.clients import rules as keys
from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.features.operations.clients.rules import Leases
from valhalla.features.operations.connected.contracts import Document, Part
from valhalla.features.operations.limits import rules as limits
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.maintenance.contracts import State, Window
from valhalla.features.operations.maintenance.recurrence import Walk
from valhalla.features.operations.maintenance.rules import Timetable
from valhalla.gate.connected.closing import Closing
from valhalla.kernel.clock import Clock

# what a newer control plane hands on besides is passed over
TYPES: Final[Mapping[str, Any]] = {
    "api_clients": Part[ApiClient],
    "rate_limits": Part[LimitRule],
    "maintenance_state": Part[State],
    "maintenance_windows": Part[Window],
}


@dataclass(frozen=True, slots=True)
class Held:
    """Everything at one revision."""

    revision: str
    environment: str
    parts: Mapping[str, Part[Any]]
    leases: Leases
    limits: tuple[LimitRule, ...]
    closing: Closing


def read(body: bytes) -> tuple[Document, dict[str, Part[Any]]]:
    """Return what a control plane sent.

    Raises:
        msgspec.MsgspecError: this release does not understand it.
    """
    document = msgspec.json.decode(body, type=Document)
    known = {name: raw for name, raw in document.registries.items() if name in TYPES}
    return document, {name: msgspec.json.decode(raw, type=TYPES[name]) for name, raw in known.items()}


def is_behind(before: Held | None, parts: Mapping[str, Part[Any]]) -> bool:
    """Say whether an answer is older than what is held, as of a process that has not heard of the newest yet."""
    if before is None:
        return False
    return any(name in before.parts and part.revision < before.parts[name].revision for name, part in parts.items())


def successor(before: Held | None, document: Document, parts: Mapping[str, Part[Any]], clock: Clock) -> Held:
    """Return what holds now; what did not change stays the same object.

    Raises:
        KeyError: a registry has never been told.
        Problem, ValueError: a record is none that this release can act by.
    """
    held = parts if before is None else {**before.parts, **parts}
    missing = TYPES.keys() - held.keys()
    if missing:
        raise KeyError(f"nothing was told of {', '.join(sorted(missing))}")
    environment = document.environment
    if before is None or "api_clients" in parts or environment != before.environment:
        leases = keys.leases_of((row.value for row in held["api_clients"].records), environment)
    else:
        leases = before.leases
    if before is None or "rate_limits" in parts:
        chosen = limits.chosen(row.value for row in held["rate_limits"].records)
    else:
        chosen = before.limits
    state = next((row.value for row in held["maintenance_state"].records), None)
    walks = [Walk(row.value, row.updated_at) for row in held["maintenance_windows"].records if row.value.enabled]
    closing = Closing(Timetable(state, walks, timedelta(seconds=document.notice)), clock)
    return Held(document.revision, environment, held, leases, chosen, closing)
