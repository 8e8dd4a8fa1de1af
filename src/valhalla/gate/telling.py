"""How an application is that follows a control plane, at a path of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from valhalla.kit.json import dumps

Told = Callable[[], tuple[int, Mapping[str, Any]]]
"""Returns a status and a document."""


class Telling:
    """Answers one path, and hands everything else on."""

    def __init__(self, app: ASGIApp, path: str, told: Told) -> None:
        self._app, self._path, self._told = app, path, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        status, document = self._told()
        body = dumps(dict(document))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
