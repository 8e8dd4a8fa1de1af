"""Composition: the console over a running control plane."""

from __future__ import annotations

from dataclasses import replace

from starlette.types import ASGIApp

from valhalla.gate import Bounds, Gate, Hooks
from valhalla.gate.rules import networks
from valhalla.kernel.principal import Principal
from valhalla.runtime import Runtime
from valhalla.server.console.calling import without_key
from valhalla.server.console.console import Console
from valhalla.server.console.pages import PAGES
from valhalla.server.console.sessions import Sessions


def console(runtime: Runtime) -> Console:
    """Return the console, to be mounted; it answers once ``connect`` has told it whom to ask."""
    settings = runtime.settings
    sessions = Sessions(
        runtime.db,
        runtime.features.clients,
        runtime.ledger,
        runtime.cell,
        clock=runtime.clock,
        life=settings.console_session,
    )
    return Console(sessions, PAGES, networks(settings.trusted_proxies))


def inner_gate(app: ASGIApp, hooks: Hooks, bounds: Bounds, runtime: Runtime) -> Gate:
    """Return a gate that takes a client's id for its key: the console alone holds it, and asks through it.

    Maintenance, blocklist, limits and spans are those of the outer one; the request that the browser sent has been
    counted and logged there.
    """
    clients, now = runtime.features.clients, runtime.clock.now

    def authenticate(client_id: str, _address: str | None) -> Principal | None:
        principal = clients.find_principal(client_id)
        if principal is not None:
            clients.last_used.mark(principal.id, now())
        return principal

    own = replace(hooks, authenticate=authenticate, cors=None, metrics=None, log=None)
    return Gate(without_key(app), own, replace(bounds, trusted=()))
