"""Whether the control plane takes writes, and when it will not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from valhalla.sdk.access import Model
from valhalla.sdk.groups import AsyncGroup, Group
from valhalla.sdk.maintenance_calls import MaintenanceCalls
from valhalla.sdk.wire import Request, params, present

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

_ROOT: Final = "/system/maintenance"
WINDOWS: Final = f"{_ROOT}/windows"
"""The registry of windows, for ``client.registry(WINDOWS)``."""
Mode = Literal["normal", "read_only", "maintenance"]


class Occurrence(Model, frozen=True, kw_only=True):
    """One time of a window, in UTC."""

    window: str
    mode: str
    start: datetime
    end: datetime
    reason: str = ""


class State(Model, frozen=True, kw_only=True):
    """Which mode holds; ``until`` is when writes open again as far as is planned."""

    mode: str
    reason: str = ""
    source: str = ""
    window: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    set_mode: str = "normal"
    set_reason: str = ""
    set_by: str | None = None
    set_until: datetime | None = None
    version: int = 0
    upcoming: tuple[Occurrence, ...] = ()

    @property
    def takes_writes(self) -> bool:
        """Whether writes pass."""
        return self.mode == "normal"


class Preview(Model, frozen=True, kw_only=True):
    """The next times of a window."""

    items: tuple[Occurrence, ...] = ()


def maintenance() -> Request[State]:
    """Which mode holds, and what is planned."""
    return Request("GET", _ROOT, State)


def set_maintenance(
    mode: Mode, reason: str, *, until: datetime | None = None, expect: int | None = None, dry_run: bool = False
) -> Request[State]:
    """Set the mode; ``expect`` is the version that was read, any other is refused."""
    if until is not None and until.tzinfo is None:
        raise ValueError("until needs a time zone")
    body = present(mode=mode, reason=reason, until=None if until is None else until.astimezone(UTC))
    headers = {} if expect is None else {"If-Match": f'"{expect}"'}
    return Request("POST", f"{_ROOT}/state", State, body=body, params=params(dry_run=dry_run), headers=headers)


def preview_window(window: Mapping[str, Any]) -> Request[Preview]:
    """When a window would be the next ten times; nothing is stored."""
    return Request("POST", f"{WINDOWS}/preview", Preview, body=window)


class Maintenance(Group, MaintenanceCalls):
    """Maintenance. Its windows are a registry: ``client.registry("/system/maintenance/windows")``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def status(self) -> State:
        """Return which mode holds, and what is planned."""
        return self._client.send(maintenance())

    def set(self, mode: Mode, reason: str, *, until: datetime | None = None, expect: int | None = None) -> State:
        """Set the mode; with ``until`` it ends by itself. ``normal`` also ends a window that is under way."""
        return self._client.send(set_maintenance(mode, reason, until=until, expect=expect))

    def preview(self, window: Mapping[str, Any]) -> tuple[Occurrence, ...]:
        """Return the next ten times of a window; nothing is stored."""
        return self._client.send(preview_window(window)).items


class AsyncMaintenance(AsyncGroup, MaintenanceCalls):
    """Maintenance. Its windows are a registry: ``client.registry("/system/maintenance/windows")``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def status(self) -> State:
        """Return which mode holds, and what is planned."""
        return await self._client.send(maintenance())

    async def set(self, mode: Mode, reason: str, *, until: datetime | None = None, expect: int | None = None) -> State:
        """Set the mode; with ``until`` it ends by itself. ``normal`` also ends a window that is under way."""
        return await self._client.send(set_maintenance(mode, reason, until=until, expect=expect))

    async def preview(self, window: Mapping[str, Any]) -> tuple[Occurrence, ...]:
        """Return the next ten times of a window; nothing is stored."""
        return (await self._client.send(preview_window(window))).items
