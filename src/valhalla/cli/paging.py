"""Lists of any length, as the documents that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from valhalla.cli.documents import page_of, sequence
from valhalla.sdk.client import Client
from valhalla.sdk.wire import Request

PAGE: Final = 100


def collect(client: Client, build: Callable[[int, str | None], Request[Any]], limit: int | None) -> dict[str, Any]:
    """Read pages until ``limit`` items or the end; ``build`` makes the request for a size and a cursor."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page = page_of(client.document(build(size, cursor)))
        items += sequence(page, "items")
        following = page.get("next")
        full = limit is not None and len(items) >= limit
        if full or following is None or following == cursor:
            kept = items[:limit]
            return {"items": kept, "next": following, "total": page.get("total")}
        cursor = following
