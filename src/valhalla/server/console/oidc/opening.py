"""Composition: signing in elsewhere, when the settings name an issuer."""

from __future__ import annotations

from valhalla.kit.outgoing_guard import Reach
from valhalla.runtime import Runtime
from valhalla.server.console.oidc.provider import Application, Provider
from valhalla.server.console.oidc.states import States
from valhalla.server.console.oidc.views import SigningInElsewhere
from valhalla.server.console.sessions import Sessions


def elsewhere(runtime: Runtime, sessions: Sessions) -> SigningInElsewhere | None:
    """Return what signs people in with the issuer; None without one.

    Raises:
        Misconfigured: Authlib is not installed.
    """
    settings, clients = runtime.settings, runtime.features.clients
    terms = clients.people.terms
    if terms is None or settings.oidc_client_id is None:
        return None
    secret = None if settings.oidc_client_secret is None else settings.oidc_client_secret.get_secret_value()
    if settings.oidc_client_secret_file is not None:
        secret = settings.oidc_client_secret_file.read_text().strip()
    application = Application(terms.issuer, settings.oidc_client_id, secret, tuple(settings.oidc_scopes))
    provider = Provider(application, Reach.of(settings.outgoing_networks), runtime.clock)
    states = States(runtime.db, runtime.cell, runtime.clock)
    return SigningInElsewhere(provider, states, terms, clients, sessions, runtime.clock, settings.console_url)
