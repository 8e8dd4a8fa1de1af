"""Every page of the console, in the order of its navigation: adding one is adding a description."""

from __future__ import annotations

from typing import Final

from valhalla.server.console.contracts import Page
from valhalla.server.console.pages import (
    clients,
    data,
    deploying,
    governing,
    guard,
    observability,
    people,
    sandboxes,
    security,
    work,
)

PAGES: Final[tuple[Page, ...]] = (
    *sandboxes.PAGES,
    *guard.PAGES,
    *work.PAGES,
    *governing.PAGES,
    *clients.PAGES,
    *people.PAGES,
    *deploying.PAGES,
    *observability.PAGES,
    *security.PAGES,
    *data.PAGES,
)
