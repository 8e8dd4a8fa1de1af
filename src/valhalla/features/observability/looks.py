"""Requests of the console itself: a page that shows requests must not renew itself for its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_CONSOLE: Final = "/console"


def is_look(path: str | None) -> bool:
    """Say whether a request is one of the console's."""
    return path is not None and (path == _CONSOLE or path.startswith(f"{_CONSOLE}/"))


def looked(names: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the traces of requests of the console, from pairs of trace and span name (``GET /console/logs``)."""
    return frozenset(trace for trace, name in names if is_look(name.partition(" ")[2]))
