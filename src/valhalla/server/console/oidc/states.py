"""A sign-in between the browser's departure and its return: nothing is stored until it comes back, and then once.

Everything else of it (nonce, PKCE verifier) is derived from the random state with the cell's key.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.kernel.clock import Clock
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.server.console import store
from valhalla.server.console.oidc.errors import SignInRefused

LIFE: Final = timedelta(minutes=10)
_TAG: Final = 22


@dataclass(frozen=True, slots=True)
class Departure:
    """What a browser takes along to the issuer (``state``, ``nonce``), and what stays here (``verifier``)."""

    state: str
    nonce: str
    verifier: str


class States:
    """Makes states and takes each of them back once."""

    def __init__(self, db: Database, cell: CellKey, clock: Clock) -> None:
        self._db, self._cell, self._now = db, cell, clock.now

    def depart(self) -> Departure:
        """Return a fresh one."""
        body = f"{int(self._now().timestamp()):x}.{secrets.token_urlsafe(24)}"
        return self._of(body + "." + self._tag(body))

    async def come_back(self, state: str, kept: str | None) -> Departure:
        """Return the departure of a state, which the browser must have ``kept`` in a cookie.

        Raises:
            SignInRefused: it was made elsewhere, is too old, or has come back before.
        """
        body, _, tag = state.rpartition(".")
        if len(state) > 200 or not state.isascii() or not hmac.compare_digest(self._tag(body).encode(), tag.encode()):
            raise SignInRefused("this sign-in was not begun here")
        if kept is None or not hmac.compare_digest(kept.encode(), state.encode()):
            raise SignInRefused("this sign-in was not begun in this browser, or its cookies were refused")
        until = datetime.fromtimestamp(int(body.partition(".")[0], 16), UTC) + LIFE
        now = self._now()
        if now >= until:
            raise SignInRefused("this sign-in took longer than ten minutes")
        digest = sha256(state.encode()).hexdigest()

        def first(conn: Connection) -> bool:
            return store.add_once(conn, "state", digest, until, now)

        if not await self._db.run(first):
            raise SignInRefused("this sign-in has come back before")
        return self._of(state)

    async def once(self, name: str, until: datetime) -> bool:
        """Say whether something of this name comes for the first time."""
        digest = sha256(f"once:{name}".encode()).hexdigest()
        return await self._db.run(store.add_once, "state", digest, until, self._now())

    def _of(self, state: str) -> Departure:
        return Departure(
            state, self._cell.password("console.oidc.nonce", state), self._cell.password("console.oidc.verifier", state)
        )

    def _tag(self, body: str) -> str:
        return self._cell.password("console.oidc.state", body)[:_TAG]
