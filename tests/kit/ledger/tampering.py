"""A ledger to tamper with, and the words for it."""

from __future__ import annotations

import sqlalchemy as sa
import sqlalchemy.exc

from valhalla.kit.ledger import Ledger


def fill(conn: sa.Connection, ledger: Ledger, count: int, *, batch: int = 4) -> None:
    for number in range(count):
        ledger.append(conn, actor="ann", action="did", kind="thing", subject=f"s{number}", details={"n": number})
    while ledger.seal(conn, batch):
        pass


def tamper(conn: sa.Connection, *statements: str) -> None:
    for table in ("ledger_entries", "ledger_checkpoints"):
        conn.execute(sa.text(f"ALTER TABLE valhalla.{table} DISABLE TRIGGER USER"))
    for statement in statements:
        conn.execute(sa.text(statement))


E = "valhalla.ledger_entries"


C = "valhalla.ledger_checkpoints"


FREE = f"ALTER TABLE {E} DROP CONSTRAINT uq_ledger_entries_seq, DROP CONSTRAINT uq_ledger_entries_nonce"


SELECT_FORGED = "SELECT at, 'eve', action, kind, subject, details, null, sha256(nonce), mac"


COLUMNS = "at, actor, action, kind, subject, details, correlation_id, nonce, mac"


PLACED = f"INSERT INTO {E} ({COLUMNS}, seq, prev, hash)"
