"""Who holds a stream open, asked again while it is: a key that is revoked hears nothing more."""

from __future__ import annotations

from collections.abc import Mapping

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
        key = _key_in(dict(scope["headers"]))
        principal = principal_in(scope)

        def again() -> Principal | None:
            if key is None or principal is None:
                return principal
            try:
                return self._clients.authenticate(key, None)
            except AddressRefused:
                return self._clients.find_principal(principal.id)

        return again


def _key_in(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key that the stream was opened with, from wherever the gate takes one."""
    header = headers.get(b"authorization")
    if header is None:
        token = headers.get(b"x-api-key") or headers.get(b"x-consul-token") or b""
        return token.decode("latin-1").strip() or None
    kind, _, given = header.decode("latin-1").partition(" ")
    return given.strip() if kind.lower() == "bearer" and given.strip() else None
