"""The client of a control plane: light, and without a server dependency.

>>> with Client() as client:  # finds the control plane of ./.valhalla by itself
...     sandbox = client.create(name="try-it", ttl="90m")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from valhalla.sdk.errors import ApiProblem, NotRunning, Unreachable, ValhallaError

if TYPE_CHECKING:
    from valhalla.sdk.access import Connection
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client
    from valhalla.sdk.creating import CreateArgs
    from valhalla.sdk.models import Draft, Health, Page, Route, Sandbox
    from valhalla.sdk.opened import OpenSandbox

__all__ = [
    "ApiProblem",
    "AsyncClient",
    "Client",
    "Connection",
    "CreateArgs",
    "Draft",
    "Health",
    "NotRunning",
    "OpenSandbox",
    "Page",
    "Route",
    "Sandbox",
    "Unreachable",
    "ValhallaError",
]

_FROM: Final = {
    "AsyncClient": "valhalla.sdk.aclient",
    "Client": "valhalla.sdk.client",
    "Connection": "valhalla.sdk.access",
    "CreateArgs": "valhalla.sdk.creating",
    "Draft": "valhalla.sdk.models",
    "Health": "valhalla.sdk.models",
    "OpenSandbox": "valhalla.sdk.opened",
    "Page": "valhalla.sdk.models",
    "Route": "valhalla.sdk.models",
    "Sandbox": "valhalla.sdk.models",
}


def __getattr__(name: str) -> object:
    # msgspec costs tens of milliseconds; who only catches the errors does not pay for it
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_FROM[name]), name)
    return value
