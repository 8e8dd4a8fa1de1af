"""Composition: the console over a running control plane."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from starlette.types import ASGIApp

from valhalla.gate import Bounds, Gate, Hooks
from valhalla.gate.rules import networks
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.writing import upkeep
from valhalla.runtime import Runtime
from valhalla.server.console.calling import without_key
from valhalla.server.console.console import PREFIX, Console
from valhalla.server.console.live import Live
from valhalla.server.console.oidc.opening import elsewhere
from valhalla.server.console.pages import PAGES
from valhalla.server.console.sessions import Sessions


def console(runtime: Runtime) -> Console:
    """Return the console, to be mounted; it answers once ``connect`` has told it whom to ask."""
    sessions = _sessions(runtime)
    live = Live(sessions, lambda: runtime.feed.status()["revisions"])
    settings = runtime.settings
    trusted = networks(settings.trusted_proxies)
    return Console(sessions, PAGES, trusted, live, elsewhere(runtime, sessions), settings.console_url)


def _sessions(runtime: Runtime) -> Sessions:
    return Sessions(
        runtime.db,
        runtime.features.clients,
        runtime.ledger,
        runtime.cell,
        clock=runtime.clock,
        life=runtime.settings.console_session,
        person_life=runtime.settings.oidc_session,
    )


async def sign_in_link(runtime: Runtime, key_file: Path) -> str:
    """Return the path at which whoever started the process signs in once, with the key in the file.

    Without that key it is where the console asks for one: a start must not fail for a link.
    """
    with contextlib.suppress(OSError, Problem):
        principal = runtime.features.clients.authenticate(key_file.read_text().strip())  # noqa: ASYNC240 - 60 bytes, before the first request
        if principal is not None:
            with upkeep():
                code, _ = await _sessions(runtime).link(principal)
            return f"{PREFIX}/link?code={code}"
    return f"{PREFIX}/"


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
