"""Carry out planned edits: records, history, revision, ledger and notice in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import store
from valhalla.kit.registry.contracts import Change
from valhalla.kit.registry.plan import Edit, Held, Why, members, plan


def apply(conn: Connection, name: str, edits: Sequence[Edit], why: Why, ledger: Ledger) -> list[Change]:
    """Plan the edits against the records as they are and, unless it is a dry run, write what changes.

    Raises:
        PreconditionFailed, NotFound: see ``plan``; nothing has been written then.
    """
    if not edits:
        return []
    head = store.revision(conn, name) if why.dry_run else store.lock(conn, name)
    rows = store.find(conn, name, {edit.key for edit in edits})
    held = {row["key"]: Held(row["body"], row["version"]) for row in rows}
    planned = plan(name, head, held, edits, why)
    written = [change for change in planned if change.changed]
    if written and not why.dry_run:
        _write(conn, written, {row["key"]: row["created_at"] for row in rows}, ledger)
    return planned


def _write(conn: Connection, written: list[Change], created: dict[str, datetime], ledger: Ledger) -> None:
    final: dict[str, Change] = {}
    for change in written:
        final[change.key] = change
        if change.before is None:
            created[change.key] = change.at
    store.write(conn, written, final, created)
    store.advance(conn, written[-1].registry, written[-1].revision)
    ledger.append_many(conn, [_entry(change) for change in written])


def _entry(change: Change) -> dict[str, Any]:
    details: dict[str, Any] = {"revision": change.revision, "changed": members(change.before, change.after)}
    if change.reason is not None:
        details["reason"] = change.reason
    return {
        "actor": change.actor,
        "action": change.op,
        "kind": change.registry,
        "subject": change.key,
        "details": details,
        "correlation_id": change.correlation_id,
    }
