"""What a mounted route says of itself: the one module of the index that knows the web framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute

from valhalla.features.operations.flags import flags_of
from valhalla.features.operations.routes.contracts import Kind, Route
from valhalla.kit.http import scope_of

SOCKET = "WEBSOCKET"


def read(route: Any, is_public: Callable[[str], bool] | None) -> Route:
    """Return the entry of one route of an application."""
    kind: Kind = "http"
    methods: tuple[str, ...] = tuple(sorted(getattr(route, "methods", None) or ()))
    if not methods:
        kind = "websocket" if hasattr(route, "endpoint") else "mount"
        methods = (SOCKET,) if kind == "websocket" else ("ANY",)
    path: str = route.path or "/"
    scope = getattr(getattr(route, "endpoint", None), "__valhalla_scope__", None)
    summary, tags, deprecated, flags = "", (), False, ()
    if isinstance(route, APIRoute):
        scope = scope_of(route)
        summary = route.summary or (route.description or "").strip().partition("\n")[0]
        tags, deprecated = tuple(str(tag) for tag in route.tags), bool(route.deprecated)
        flags = flags_of(route)
    return Route(
        id=f"{','.join(methods)} {path}",
        path=path,
        methods=methods,
        name=getattr(route, "name", None) or "",
        kind=kind,
        summary=summary,
        tags=tags,
        scope=scope,
        public=is_public is None or is_public(path),
        deprecated=deprecated,
        flags=flags,
    )
