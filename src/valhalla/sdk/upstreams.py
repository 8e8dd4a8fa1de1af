"""Where the requests of sandboxes go that come by the proxy of live traffic."""

from __future__ import annotations

from typing import Any

from valhalla.sdk.wire import Request, segment

Document = dict[str, Any]


def set_upstream(ref: str, url: str, *, own_host: bool = False) -> Request[Document]:
    """Say where the requests of a sandbox go; the answer has its routing ``key``.

    The upstream is asked under the name that the caller used, or under the one in its URL (``own_host``).
    """
    return Request("PUT", _at(ref), Document, body={"url": url, "own_host": own_host})


def upstream(ref: str) -> Request[Document]:
    """Where the requests of a sandbox go, and its routing ``key`` if one may change that."""
    return Request("GET", _at(ref), Document)


def drop_upstream(ref: str) -> Request[None]:
    """Forget where the requests of a sandbox go; what it has claimed is answered with 502 then."""
    return Request("DELETE", _at(ref), type(None))


def _at(ref: str) -> str:
    return f"/api/sandboxes/{segment(ref)}/upstream"
