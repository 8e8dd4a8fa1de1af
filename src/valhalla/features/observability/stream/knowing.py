"""Who holds a stream open, asked again while it is: a key that is revoked hears nothing more."""

from __future__ import annotations

from starlette.types import Scope

from valhalla.features.observability.stream.contracts import Recheck
from valhalla.features.operations.clients import Clients
from valhalla.features.operations.clients.errors import AddressRefused
from valhalla.kernel.principal import Principal
from valhalla.kit.http import principal_in


class Knowing:
    """Knows keys apart as the gate does."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def recheck(self, scope: Scope) -> Recheck:
        """Return what says who the caller of an open request is now.

        The address is not asked again: it was when the stream was opened, behind proxies that the gate knows.
        """
        key = _bearer(dict(scope["headers"]).get(b"authorization"))
        principal = principal_in(scope)

        def again() -> Principal | None:
            if key is None or principal is None:
                return principal
            try:
                return self._clients.authenticate(key, None)
            except AddressRefused:
                return self._clients.find_principal(principal.id)

        return again


def _bearer(header: bytes | None) -> str | None:
    kind, _, token = (header or b"").decode("latin-1").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None
