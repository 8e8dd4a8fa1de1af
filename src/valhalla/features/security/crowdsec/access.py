"""Who agents are: an API key once, then a token of an hour that ends with the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from valhalla.features.security.crowdsec import tokens
from valhalla.features.security.crowdsec.errors import BadLogin
from valhalla.features.security.crowdsec.lapi import WRITE
from valhalla.features.security.crowdsec.tokens import LIFETIME, Token
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.cellkey import CellKey

_PURPOSE: Final = "crowdsec.tokens"


class Keys(Protocol):
    """Who knows the keys."""

    def authenticate(self, key: str, address: str | None = None) -> Principal | None:
        """Return whose key it is."""
        ...

    def find_principal(self, client_id: str) -> Principal | None:
        """Return who a client is, None for one that may not ask now."""
        ...


class Access:
    """Signs and reads tokens; the key that signs is this installation's, so every process takes them."""

    def __init__(self, keys: Keys, cell: CellKey, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._secret = cell.derive(_PURPOSE)
        self._now = now

    def authenticate(self, key: str, address: str | None) -> Principal | None:
        """Return whose key or token it is (what the gate asks).

        Raises:
            Problem: the key may not be used from this address.
        """
        if not tokens.is_token(key):
            return self._keys.authenticate(key, address)
        token = tokens.read(key, self._secret, self._now().timestamp())
        principal = None if token is None else self._keys.find_principal(token.client_id)
        # a token is for this API: whatever else the key allows needs the key
        if principal is None or not principal.allows(WRITE):
            return None
        return Principal(principal.id, principal.owner, frozenset({WRITE}), limits=principal.limits)

    def login(self, machine: str, password: str, address: str | None) -> tuple[Principal, Token, str]:
        """Return who logs in, with a token.

        Raises:
            BadLogin: the password is no key, or one that does not allow it.
        """
        try:
            principal = self._keys.authenticate(password, address) if machine and password else None
        except Problem as problem:
            raise BadLogin from problem
        if principal is None or not principal.allows(WRITE):
            raise BadLogin
        return principal, *self.renew(principal, tokens.machine_name(machine))

    def renew(self, principal: Principal, machine: str) -> tuple[Token, str]:
        """Return a token that lasts an hour from now."""
        token = Token(principal.id, machine, int(self._now().timestamp()) + LIFETIME)
        return token, tokens.sign(token, self._secret)

    def machine_in(self, header: str | None) -> str | None:
        """Return the machine that an Authorization header's token names, None without a token."""
        text = (header or "").partition(" ")[2].strip()
        token = tokens.read(text, self._secret, self._now().timestamp()) if tokens.is_token(text) else None
        return None if token is None else token.machine_id

    def machine_of(self, header: str | None, principal: Principal) -> str:
        """Return the machine that asks; who comes with a key is called by its id."""
        return self.machine_in(header) or principal.id
