"""Every statement about what people add to requested actions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, RowMapping

from valhalla.features.security.actions.contracts import Note, NoteKind
from valhalla.features.security.actions.tables import notes

_SHOWN = [column for column in notes.c if column.name not in ("content", "action")]


def lock(conn: Connection, action: str) -> None:
    """Let nobody else add to an action until the transaction ends: bounds are counted."""
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"action_notes:{action}"})


def count(conn: Connection, action: str, kind: NoteKind) -> int:
    """Return how many notes of a kind an action has."""
    query = sa.select(sa.func.count()).where(notes.c.action == action, notes.c.kind == kind)
    return conn.scalar(query) or 0


def add(
    conn: Connection,
    action: str,
    kind: NoteKind,
    *,
    by: str,
    at: datetime,
    text: str,
    name: str | None = None,
    media_type: str | None = None,
    content: bytes | None = None,
) -> Note | None:
    """Add a note; None where an action that has been escalated is so again."""
    row = {"action": action, "kind": kind, "by": by, "at": at, "text": text, "name": name, "media_type": media_type}
    if content is not None:
        row |= {"content": content, "size": len(content), "sha256": sha256(content).hexdigest()}
    found = conn.execute(insert(notes).values(row).on_conflict_do_nothing().returning(*_SHOWN)).mappings().first()
    return None if found is None else _note(found)


def page(conn: Connection, action: str, kind: NoteKind | None, *, after: int, limit: int) -> list[Note]:
    """Return notes of an action, oldest first."""
    query = sa.select(*_SHOWN).where(notes.c.action == action, notes.c.id > after).order_by(notes.c.id).limit(limit)
    if kind is not None:
        query = query.where(notes.c.kind == kind)
    return [_note(row) for row in conn.execute(query).mappings()]


def content(conn: Connection, action: str, id_: int) -> tuple[str, str, bytes] | None:
    """Return name, media type and bytes of a piece of evidence."""
    query = sa.select(notes.c.name, notes.c.media_type, notes.c.content).where(
        notes.c.action == action, notes.c.id == id_, notes.c.kind == "evidence"
    )
    row = conn.execute(query).first()
    return None if row is None else (row[0], row[1], bytes(row[2]))


def escalated(conn: Connection, actions: Sequence[str]) -> set[str]:
    """Return which of some actions have been escalated."""
    query = sa.select(notes.c.action).where(notes.c.action.in_(actions), notes.c.kind == "escalation")
    return set(conn.scalars(query))


def _note(row: RowMapping) -> Note:
    return Note(**row)
