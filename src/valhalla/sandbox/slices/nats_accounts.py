"""Accounts on the NATS server that are no sandbox's, read and written as what their JWTs say."""

from __future__ import annotations

import time

from valhalla.kit import natsauth
from valhalla.kit.natsauth import Claims, KeyPair
from valhalla.sandbox.slices.nats_admin import NatsAdmin


class StandingAccounts:
    """Signs with the operator's key, and pushes over the connection of ``admin``."""

    def __init__(self, admin: NatsAdmin, operator: KeyPair) -> None:
        self._admin = admin
        self._operator = operator

    async def find(self, public: str) -> Claims | None:
        """Return what an account's JWT says, ``None`` when the server does not know it.

        Raises:
            Unavailable: the server cannot be reached.
        """
        token = await self._admin.find_account(public)
        return natsauth.decode_jwt(token) if token else None

    async def put(self, claims: Claims) -> None:
        """Sign and push what an account's JWT shall say: ``sub``, ``name``, ``nats`` and, if it ends, ``exp``.

        The server that answers applies it before it does.

        Raises:
            Unavailable: the server cannot be reached, or refuses the account.
        """
        token = natsauth.encode_jwt(
            self._operator,
            claims["sub"],
            claims["name"],
            claims["nats"],
            issued_at=int(time.time()),
            expires_at=claims.get("exp"),
        )
        await self._admin.push_account(token)
