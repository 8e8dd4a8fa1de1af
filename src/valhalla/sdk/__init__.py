"""The client of a control plane: light, and without a server dependency.

>>> with Client() as valhalla:  # finds the control plane of ./.valhalla by itself
...     sandbox = valhalla.create(name="try-it", ttl="90m")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valhalla.sdk.errors import ApiProblem, NotRunning, Unreachable, ValhallaError

if TYPE_CHECKING:
    from valhalla.sdk.access import Connection
    from valhalla.sdk.client import Client
    from valhalla.sdk.models import Draft, Health, Page, Route, Sandbox

__all__ = [
    "ApiProblem",
    "Client",
    "Connection",
    "Draft",
    "Health",
    "NotRunning",
    "Page",
    "Route",
    "Sandbox",
    "Unreachable",
    "ValhallaError",
]


def __getattr__(name: str) -> object:
    # httpx and msgspec cost 130 ms; who only catches the errors does not pay for them
    if name == "Client":
        from valhalla.sdk.client import Client

        return Client
    if name in __all__:
        from valhalla.sdk import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
