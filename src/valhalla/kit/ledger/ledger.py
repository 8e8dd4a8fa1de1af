"""Append, read and seal. Writers only append, so they never wait for each other; one sealer makes the chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit import notes, paging
from valhalla.kit.cellkey import CellKey
from valhalla.kit.ledger import store
from valhalla.kit.ledger.chain import GENESIS, Keys, content, link
from valhalla.kit.ledger.values import Anchor, Entry, Verification, Witness
from valhalla.kit.ledger.verify import verify
from valhalla.kit.log import correlation_id as current_correlation
from valhalla.kit.log import get_logger
from valhalla.kit.redact import redact, storable

log = get_logger("ledger")


class Ledger:
    """The ledger of one installation. Its rows outlive what they are about.

    From the moment an entry is sealed its removal or displacement is found; before that (about a second) only a
    change of its content is.
    """

    def __init__(self, cell: CellKey, *, secret_names: Iterable[str] = ()) -> None:
        """``secret_names`` are further parts of member names whose values are redacted."""
        self._keys = Keys(cell)
        self._origin = f"valhalla/{cell.cell}/ledger"
        self._names = tuple(secret_names)

    @property
    def public_key(self) -> bytes:
        """The ed25519 key that checks the checkpoints (32 bytes)."""
        return self._keys.public

    def append(
        self,
        conn: Connection,
        *,
        actor: str,
        action: str,
        kind: str,
        subject: str,
        details: Mapping[str, object] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Write one entry in the caller's transaction, redacted; takes no lock.

        ``correlation_id`` defaults to that of the context.
        """
        store.insert(conn, [self.compose(actor, action, kind, subject, details, correlation_id)])

    def append_many(self, conn: Connection, items: Iterable[Mapping[str, Any]]) -> None:
        """Write several entries in one statement; each item has the keyword arguments of ``append``."""
        rows = [
            self.compose(
                item["actor"],
                item["action"],
                item["kind"],
                item["subject"],
                item.get("details"),
                item.get("correlation_id"),
            )
            for item in items
        ]
        if rows:
            store.insert(conn, rows)

    def page(
        self,
        conn: Connection,
        *,
        kind: str | None = None,
        subject: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> paging.Page[Entry]:
        """Return entries, newest first, that match every given filter.

        Raises:
            Invalid: the cursor was not made here.
        """
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        before = None if position is None else paging.integer(position, "id")
        equal = {"kind": kind, "subject": subject, "actor": actor, "action": action}
        rows = store.page(conn, equal=equal, before=before, limit=size + 1)
        items = tuple(_entry(row) for row in rows[:size])
        return paging.Page(items, paging.encode({"id": items[-1].id}) if len(rows) > size else None)

    def recent(
        self, conn: Connection, things: Sequence[tuple[str, str]], limit: int
    ) -> Mapping[tuple[str, str], list[Entry]]:
        """Return up to ``limit`` of the newest entries of each (kind, subject), in one statement."""
        found: dict[tuple[str, str], list[Entry]] = {}
        for row in store.recent(conn, things, paging.clamp(limit)):
            found.setdefault((row["kind"], row["subject"]), []).append(_entry(row))
        return found

    def seal(self, conn: Connection, batch: int = 1000) -> int:
        """Chain up to ``batch`` entries and sign a checkpoint; return how many.

        0 means that none wait, or that another process is sealing.
        """
        if not store.try_lock_seal(conn):
            return 0
        rows = store.unsealed(conn, after=-(2**63), limit=batch)
        if not rows:
            return 0
        # the signed checkpoint, not the last row: rows cut off the end must stay a visible gap
        last = store.last_checkpoint(conn)
        seq = last["seq"] if last else 0
        head = bytes(last["hash"]) if last else GENESIS
        prevs: list[bytes] = []
        hashes: list[bytes] = []
        for row in rows:
            said = content(row)
            if self._keys.mac(said) != bytes(row["mac"]):
                log.error("an entry that Valhalla did not write is in the ledger", entry=row["id"])
            prevs.append(head)
            head = link(head, row["id"], said, bytes(row["mac"]))
            hashes.append(head)
        seqs = [seq + n for n in range(1, len(rows) + 1)]
        store.seal(conn, [row["id"] for row in rows], seqs, prevs, hashes)
        self._checkpoint(conn, seqs[-1], head, last)
        return len(rows)

    def _checkpoint(self, conn: Connection, seq: int, head: bytes, last: RowMapping | None) -> None:
        now = datetime.now(UTC)
        signature = self._keys.sign(seq, head, now, bytes(last["signature"]) if last else b"")
        store.insert_checkpoint(conn, {"seq": seq, "hash": head, "sealed_at": now, "signature": signature})

    @property
    def origin(self) -> str:
        """The name under which the checkpoints of this installation are signed."""
        return self._origin

    @property
    def verifier(self) -> str:
        """The public key as it is noted down to check checkpoints with (``kit.notes``)."""
        return notes.verifier(self._origin, self._keys.public)

    def witnesses(
        self, conn: Connection, *, cursor: str | None = None, limit: int | None = None
    ) -> paging.Page[Witness]:
        """Return checkpoints as signed notes, newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        size = paging.clamp(limit)
        position = paging.decode(cursor)
        before = None if position is None else paging.integer(position, "seq")
        rows = store.checkpoints_before(conn, before=before, limit=size + 1)
        items = tuple(self._witness(row) for row in rows[:size])
        return paging.Page(items, paging.encode({"seq": items[-1].size}) if len(rows) > size else None)

    def _witness(self, row: RowMapping) -> Witness:
        seq, head, at = row["seq"], bytes(row["hash"]), row["sealed_at"].astimezone(UTC)
        checkpoint = notes.Checkpoint(self._origin, seq, head)
        return Witness(seq, head, at, notes.compose(checkpoint, at, self._keys.public, self._keys.sign_note))

    def export(self, conn: Connection, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return entries of the chain in order, with all that recomputes their hashes without our keys."""
        rows = store.sealed_after(conn, after=after, limit=limit)
        return [
            {"seq": row["seq"], "id": row["id"], "mac": bytes(row["mac"]).hex(), "said": content(row).decode()}
            for row in rows
        ]

    def verify(self, conn: Connection, *, batch: int = 1000, anchor: Anchor | None = None) -> Verification:
        """Check every entry, link and checkpoint; stops at the first fault. Memory does not grow with the ledger.

        ``anchor`` (an earlier outcome's, kept elsewhere) also finds that the end was cut off with its checkpoints.
        """
        return verify(conn, self._keys, batch=batch, anchor=anchor)

    def compose(
        self,
        actor: str,
        action: str,
        kind: str,
        subject: str,
        details: Mapping[str, object] | None,
        correlation_id: str | None = None,
    ) -> dict[str, Any]:
        """Return an entry's row, for a statement that writes it together with its cause."""
        correlation_id = correlation_id or current_correlation()
        row: dict[str, Any] = {
            "at": datetime.now(UTC),
            "actor": storable(actor),
            "action": storable(action),
            "kind": storable(kind),
            "subject": storable(subject),
            "details": redact(details or {}, names=self._names),
            "correlation_id": correlation_id and storable(correlation_id),
            "nonce": self._keys.nonce(),
        }
        return row | {"mac": self._keys.mac(content(row))}


def _entry(row: RowMapping) -> Entry:
    return Entry(
        id=row["id"],
        at=row["at"].astimezone(UTC),
        actor=row["actor"],
        action=row["action"],
        kind=row["kind"],
        subject=row["subject"],
        details=row["details"],
        correlation_id=row["correlation_id"],
        seq=row["seq"],
    )
