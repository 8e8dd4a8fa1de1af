"""Who is signed in: random tokens in cookies, their hashes in the database, and the key that stands behind each.

A session is no more than the key that it was opened with: it ends when the key is revoked, deactivated, expires or is
rotated away, and has the rights that the key has now. One that an issuer opened is its person in the same way.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy.engine import Connection

from valhalla.features.operations.clients import ApiClient, Clients
from valhalla.features.operations.clients.networks import holds, networks
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.server.console import store
from valhalla.server.console.contracts import Kind, Session
from valhalla.server.console.errors import LinkUsed, NotSignedIn

LINK_LIFE: Final = timedelta(minutes=5)
_TAG: Final = 22


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(
        self,
        db: Database,
        clients: Clients,
        ledger: Ledger,
        cell: CellKey,
        *,
        clock: Clock,
        life: timedelta,
        person_life: timedelta | None = None,
    ) -> None:
        """``life`` is how long a session lasts, used or not; ``person_life`` one that an issuer has opened."""
        self._db, self._clients, self._ledger, self._cell = db, clients, ledger, cell
        self._now = clock.now
        self.life = life
        self._person_life = min(life, person_life or life)
        self.cookie = f"valhalla_{cell.cell}"
        """Its name: cookies are not kept apart by port, and one machine may have several control planes."""

    async def open(self, key: str, address: str | None) -> str:
        """Open a session with an API key; return its token.

        Raises:
            NotSignedIn: nobody's key.
            AddressRefused: the key may not be used from this address.
        """
        principal = self._clients.authenticate(key, address)
        if principal is None:
            raise NotSignedIn("this is no valid API key")
        return await self._issue("session", principal.id, sha256(key.encode()).hexdigest(), self.life, "signed-in")

    async def open_for(self, person: Principal, account: str) -> tuple[str, timedelta]:
        """Open a session for somebody whom an issuer has sent; return its token, and how long it lasts."""
        life = self._person_life
        return await self._issue("session", person.id, account, life, "signed-in"), life

    async def link(self, principal: Principal) -> tuple[str, datetime]:
        """Return the code of a link that opens one session for the principal's key, and until when."""
        client = self._clients.find(principal.id)
        if client is None:
            raise NotSignedIn("only API keys make links")
        code = await self._issue("link", client.id, client.digest, LINK_LIFE, "link-made")
        return code, self._now() + LINK_LIFE

    async def redeem(self, code: str, address: str | None) -> str:
        """Open the session of a link; return its token.

        Raises:
            LinkUsed: it was used, has expired, or its key is no longer valid.
        """
        digest = self._digest("link", code)
        ticket = None if digest is None else await self._db.run(store.take, "link", digest, self._now())
        if ticket is None or self._principal(ticket.client_id, ticket.key_digest, address) is None:
            raise LinkUsed
        return await self._issue("session", ticket.client_id, ticket.key_digest, self.life, "signed-in")

    async def find(self, token: str | None, address: str | None) -> Session | None:
        """Return the session of a token, None for one that has ended."""
        digest = None if token is None else self._digest("session", token)
        if digest is None:
            return None
        ticket = await self._db.read(store.find, "session", digest, self._now())
        if ticket is None:
            return None
        principal = self._principal(ticket.client_id, ticket.key_digest, address)
        if principal is None:
            return None
        return Session(digest, principal, ticket.key_digest, ticket.expires_at, self.form_token(digest))

    def again(self, session: Session) -> Principal | None:
        """Say who an open session is now, from the snapshot: what a stream asks while it lasts."""
        if session.expires_at <= self._now():
            return None
        return self._principal(session.principal.id, session.key_digest, None, anywhere=True)

    async def end(self, session: Session) -> None:
        """End a session."""

        def work(conn: Connection) -> None:
            store.take(conn, "session", session.digest, self._now())
            self._note(conn, session.principal.id, "signed-out")

        await self._db.run(work)

    async def end_all(self, account: str) -> int:
        """End every session of an issuer's account (``people.contracts.account``); return how many there were."""

        def work(conn: Connection) -> int:
            ended = store.end_all(conn, account)
            for person in set(ended):
                self._note(conn, person, "signed-out-by-issuer")
            return len(ended)

        return await self._db.run(work)

    def form_token(self, of: str) -> str:
        """Return what every form of a session (or of a visitor who signs in) must send along."""
        return self._cell.password("console.form", of)

    def is_form_token(self, of: str, token: str) -> bool:
        """Say whether a form was made for this session, in constant time."""
        return hmac.compare_digest(self.form_token(of).encode(), token.encode())

    def _principal(
        self, client_id: str, key_digest: str, address: str | None, *, anywhere: bool = False
    ) -> Principal | None:
        if (person := self._clients.people.find(client_id)) is not None:
            return self._clients.find_principal(client_id) if person.digest == key_digest else None
        client = self._clients.find(client_id)
        if client is None or not self._taken(client, key_digest):
            return None
        if not anywhere and client.networks and not holds(networks(client.networks), address):
            return None
        return self._clients.find_principal(client_id)

    def _taken(self, client: ApiClient, key_digest: str) -> bool:
        """Say whether the key that opened the session still is one of the client's."""
        now = self._now()
        return client.digest == key_digest or any(
            one.digest == key_digest and one.until > now for one in client.retired
        )

    async def _issue(self, kind: Kind, client_id: str, key_digest: str, life: timedelta, action: str) -> str:
        body = secrets.token_urlsafe(32)
        token = body + self._tag(kind, body)
        now = self._now()
        row = {"kind": kind, "client_id": client_id, "key_digest": key_digest, "expires_at": now + life}
        digest = sha256(token.encode()).hexdigest()

        def work(conn: Connection) -> None:
            store.add(conn, digest, row, now)
            self._note(conn, client_id, action)

        await self._db.run(work)
        return token

    def _note(self, conn: Connection, client_id: str, action: str) -> None:
        self._ledger.append(conn, actor=client_id, action=action, kind="console", subject=client_id)

    def _tag(self, kind: Kind, body: str) -> str:
        # what was not made here is refused without a look into the database
        return self._cell.password(f"console.{kind}", body)[:_TAG]

    def _digest(self, kind: Kind, token: str) -> str | None:
        body, tag = token[:-_TAG], token[-_TAG:]
        fits = len(token) < 200 and token.isascii() and hmac.compare_digest(self._tag(kind, body), tag)
        return sha256(token.encode()).hexdigest() if fits else None
