"""The values of the index, and what it needs of who serves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem

Kind = Literal["http", "websocket", "mount"]
Obstacle = Literal["maintenance", "blocklist", "authentication", "policy", "limit", "path", "method", "scope"]


class Route(msgspec.Struct, frozen=True):
    """One mounted route. ``scope`` is what a key needs, ``None`` where nobody asks for one; ``public`` needs no key."""

    id: str
    """Methods and path: ``GET /api/sandboxes``; no two routes have the same."""
    path: str
    methods: tuple[str, ...]
    name: str
    kind: Kind = "http"
    summary: str = ""
    tags: tuple[str, ...] = ()
    scope: str | None = None
    public: bool = False
    deprecated: bool = False
    flags: tuple[str, ...] = ()
    """The feature flags that it reads."""


class RouteList(msgspec.Struct, frozen=True):
    """What one release serves, as the registry keeps it from boot to boot."""

    release: str
    routes: tuple[Route, ...]


class Difference(msgspec.Struct, frozen=True):
    """What came, went and changed, by the routes' ids; a change names the members."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Stop:
    """One thing that would stop a request."""

    by: Obstacle
    status: int
    code: str
    detail: str


class Times(Protocol):
    """What one method of a route has done since the process began; seconds."""

    @property
    def method(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def p50(self) -> float | None: ...
    @property
    def p99(self) -> float | None: ...


class Leaf(Protocol):
    """The routes that one path may have, in the order in which they are asked."""

    @property
    def routes(self) -> Sequence[Any]: ...


class Shield(Protocol):
    """The state of maintenance."""

    def refuse(self, method: str, path: str, query: bytes, principal: Principal | None) -> Problem | None: ...


class Blocklist(Protocol):
    """Who is not let in."""

    def refusal(self, method: str, path: str, address: str | None, principal: Principal | None) -> Problem | None: ...


class Policies(Protocol):
    """What is made of a request beyond who may and how much."""

    def refusal(
        self, method: str, path: str, route: str, address: str | None, principal: Principal | None
    ) -> Problem | None: ...


class Hooks(Protocol):
    """Whom the gate asks, as it is now."""

    @property
    def shield(self) -> Shield | None: ...
    @property
    def blocklist(self) -> Blocklist | None: ...
    @property
    def policies(self) -> Policies | None: ...
    @property
    def is_public(self) -> Callable[[str], bool] | None: ...


@dataclass(frozen=True, slots=True)
class Served:
    """The application as it is served: its routes in order, who finds them, what they did, whom the gate asks."""

    routes: Collection[Any]
    find: Callable[[str], Leaf]
    times: Callable[[], Iterable[Times]]
    hooks: Hooks
