"""Signing in to the console from a terminal."""

from __future__ import annotations

from datetime import datetime

from valhalla.sdk.access import Model
from valhalla.sdk.wire import Request


class LoginLink(Model, frozen=True, kw_only=True):
    """Where to sign in once, until when; ``path`` is below the control plane's address."""

    path: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"LoginLink(expires_at={self.expires_at!r})"


def login_link() -> Request[LoginLink]:
    """A link that opens one session of the console with the rights of the key that asks."""
    return Request("POST", "/console/session", LoginLink)
