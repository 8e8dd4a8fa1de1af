"""The use cases of requested actions: ask, decide, comment, bring evidence, be reminded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.engine import Connection

from valhalla.features.operations.admin import AdminService
from valhalla.features.operations.admin.contracts import AdminAction, Done
from valhalla.features.security.actions import rules, store
from valhalla.features.security.actions.contracts import APPROVE, ESCALATES, WRITE, Asked, Desk, Note
from valhalla.features.security.actions.errors import EvidenceNotFound, NotTheRequester, TooManyNotes
from valhalla.features.security.actions.rules import Book
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.changes import View
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.outbox import emit

KIND: Final = "security_action"
_PAGE: Final = 200
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that backs a request."""

    name: str
    media_type: str
    content: bytes
    text: str


class ActionService:
    """Requests are rows of the guard; what people say about them is ours."""

    def __init__(
        self, db: Database, ledger: Ledger, admin: AdminService, desk: Desk, book: View[Book], *, clock: Clock
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._admin = admin
        self._book = book
        self._clock = clock
        self.desk = desk

    def types(self) -> list[AdminAction]:
        """Return what can be asked for, by name."""
        return self._admin.actions()

    def _patience(self, asked: Asked) -> float:
        """Return after how many seconds a request is escalated: as the strictest chain with its approval says."""
        chains = self._book.value.by_name.values()
        said = [one.escalate_after for one in chains if self.desk.spell(one.approval) == asked.approval]
        return min(said, default=ESCALATES)

    async def request(
        self, principal: Principal, name: str, payload: Mapping[str, Any], *, reason: str, key: str | None
    ) -> tuple[str, Done]:
        """Ask for an action; return the operation's id and under which hold it waits.

        Raises:
            UnknownAdminAction, Forbidden, Invalid: as they say; nothing waits.
        """
        principal.require(WRITE)
        return await self._admin.execute(principal, name, payload, reason=reason, key=key, by=self.desk.propose)

    async def decide(
        self,
        principal: Principal,
        id_: str,
        decision: Literal["approve", "deny"],
        *,
        reason: str | None,
        fingerprint: str | None,
    ) -> Asked:
        """Add the principal's decision; what was approved by everybody who must is executed by a worker, once.

        Raises:
            Problem: as the desk says.
        """
        principal.require(APPROVE)
        return await self.desk.decide(principal, id_, decision, reason=reason, fingerprint=fingerprint)

    async def cancel(self, principal: Principal, id_: str, *, reason: str | None) -> Asked:
        """Take a request back.

        Raises:
            NotTheRequester: somebody else asked, and the principal does not decide either.
        """
        asked = await self.desk.get(id_)
        if asked.requester not in (principal.id, principal.owner) and not principal.allows(APPROVE):
            raise NotTheRequester("somebody else asked for it", id=id_)
        return await self.desk.cancel(principal, id_, reason=reason)

    async def comment(self, principal: Principal, id_: str, text: str) -> Note:
        """Add a comment.

        Raises:
            TooManyNotes: there are 200.
        """
        await self.desk.get(id_)

        def work(conn: Connection) -> Note:
            store.lock(conn, id_)
            if store.count(conn, id_, "comment") >= rules.MOST_COMMENTS:
                raise TooManyNotes(f"a request has at most {rules.MOST_COMMENTS} comments", id=id_)
            note = store.add(conn, id_, "comment", by=principal.owner, at=self._clock.now(), text=text)
            assert note is not None
            self._note(conn, principal.id, "commented", id_, note=note.id)
            return note

        return await self._db.run(work)

    async def bring(self, principal: Principal, id_: str, evidence: Evidence) -> Note:
        """Add a piece of evidence; it is kept as it came and never interpreted.

        Raises:
            TooManyNotes: there are ten.
        """
        await self.desk.get(id_)

        def work(conn: Connection) -> Note:
            store.lock(conn, id_)
            if store.count(conn, id_, "evidence") >= rules.MOST_EVIDENCE:
                raise TooManyNotes(f"a request has at most {rules.MOST_EVIDENCE} pieces of evidence", id=id_)
            note = store.add(
                conn,
                id_,
                "evidence",
                by=principal.owner,
                at=self._clock.now(),
                text=evidence.text,
                name=evidence.name,
                media_type=evidence.media_type,
                content=evidence.content,
            )
            assert note is not None
            self._note(conn, principal.id, "evidence", id_, note=note.id, sha256=note.sha256)
            return note

        return await self._db.run(work)

    async def notes(self, id_: str, kind: Literal["comment", "evidence"], *, after: int, limit: int) -> list[Note]:
        """Return what was added, oldest first."""
        await self.desk.get(id_)
        return await self._db.read(store.page, id_, kind, after=after, limit=limit)

    async def evidence(self, id_: str, note: int) -> tuple[str, str, bytes]:
        """Return name, media type and bytes.

        Raises:
            EvidenceNotFound: there is none of this number.
        """
        found = await self._db.read(store.content, id_, note)
        if found is None:
            raise EvidenceNotFound(f"the request has no evidence {note}", id=id_)
        return found

    async def escalate(self, now: datetime | None = None) -> int:
        """Make alerts of requests that have waited for too long, each once; return how many. ``now`` is for tests."""
        late: list[Asked] = []
        cursor: str | None = None
        now = now or self._clock.now()
        while True:
            page = await self.desk.list("open", name=None, requester=None, limit=_PAGE, cursor=cursor)
            late += [
                asked for asked in page.items if asked.created_at + timedelta(seconds=self._patience(asked)) <= now
            ]
            cursor = page.next
            if cursor is None:
                break
        if not late:
            return 0
        known = await self._db.read(store.escalated, [one.id for one in late])
        told = 0
        for asked in late:
            if asked.id not in known:
                told += await self._db.run(self._escalate, asked)
        return told

    def _escalate(self, conn: Connection, asked: Asked) -> int:
        waits = f"waits for {asked.missing or 'somebody'}"
        if store.add(conn, asked.id, "escalation", by="system", at=self._clock.now(), text=waits) is None:
            # another process was quicker
            return 0
        self._note(conn, "system", "escalated", asked.id, missing=asked.missing)
        emit(
            conn,
            subject=f"action.{_NO_TOKEN.sub('_', asked.id) or '_'}",
            type="action.escalated",
            data={"id": asked.id, "name": asked.type, "requester": asked.requester, "missing": asked.missing},
            correlation_id=asked.correlation_id,
        )
        return 1

    def _note(self, conn: Connection, actor: str, step: str, id_: str, **details: Any) -> None:
        self._ledger.append(conn, actor=actor, action=f"{KIND}.{step}", kind=KIND, subject=id_, details=details)
