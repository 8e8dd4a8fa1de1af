"""Every SQL statement of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, RowMapping

from valhalla.kit.advisory import LEDGER_SEAL
from valhalla.kit.ledger.tables import checkpoints, entries

_insert = sa.insert(entries).inline()
_SEALED = sa.text(
    """
    UPDATE valhalla.ledger_entries AS e SET seq = v.seq, prev = v.prev, hash = v.hash
    FROM unnest(:ids, :seqs, :prevs, :hashes) AS v (id, seq, prev, hash)
    WHERE e.id = v.id AND e.seq IS NULL
    """
).bindparams(
    sa.bindparam("ids", type_=ARRAY(sa.BigInteger)),
    sa.bindparam("seqs", type_=ARRAY(sa.BigInteger)),
    sa.bindparam("prevs", type_=ARRAY(sa.LargeBinary)),
    sa.bindparam("hashes", type_=ARRAY(sa.LargeBinary)),
)


def insert(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows in one statement."""
    conn.execute(_insert, rows)


def page(conn: Connection, *, equal: Mapping[str, str | None], before: int | None, limit: int) -> Sequence[RowMapping]:
    """Return the newest rows with an id below ``before`` whose columns have the given values."""
    query = sa.select(entries).order_by(entries.c.id.desc()).limit(limit)
    for column, value in equal.items():
        if value is not None:
            query = query.where(entries.c[column] == value)
    if before is not None:
        query = query.where(entries.c.id < before)
    return conn.execute(query).mappings().all()


def recent(conn: Connection, things: Sequence[tuple[str, str]], limit: int) -> Sequence[RowMapping]:
    """Return the newest rows of each (kind, subject), in one statement: as many index scans as things."""
    wanted = (
        sa.func.unnest(
            sa.cast([kind for kind, _ in things], ARRAY(sa.Text)),
            sa.cast([subject for _, subject in things], ARRAY(sa.Text)),
        )
        .table_valued("kind", "subject")
        .render_derived(name="wanted")
    )
    newest = (
        sa.select(entries)
        .where(entries.c.kind == wanted.c.kind, entries.c.subject == wanted.c.subject)
        .order_by(entries.c.id.desc())
        .limit(limit)
        .lateral("newest")
    )
    return conn.execute(sa.select(newest).select_from(wanted.join(newest, sa.true()))).mappings().all()


def try_lock_seal(conn: Connection) -> bool:
    """Become the one who seals, until the transaction ends; ``False`` if another does."""
    return bool(conn.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(LEDGER_SEAL))))


def unsealed(conn: Connection, *, after: int, limit: int) -> Sequence[RowMapping]:
    """Return rows without a place in the chain, by id."""
    query = sa.select(entries).where(entries.c.seq.is_(None), entries.c.id > after)
    return conn.execute(query.order_by(entries.c.id).limit(limit)).mappings().all()


def last_checkpoint(conn: Connection) -> RowMapping | None:
    """Return the newest checkpoint."""
    return conn.execute(sa.select(checkpoints).order_by(checkpoints.c.seq.desc()).limit(1)).mappings().first()


def checkpoints_before(conn: Connection, *, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Return the newest checkpoints below a place."""
    query = sa.select(checkpoints).order_by(checkpoints.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(checkpoints.c.seq < before)
    return conn.execute(query).mappings().all()


def sealed_after(conn: Connection, *, after: int, limit: int) -> Sequence[RowMapping]:
    """Return rows of the chain in order."""
    query = sa.select(entries).where(entries.c.seq > after).order_by(entries.c.seq).limit(limit)
    return conn.execute(query).mappings().all()


def seal(conn: Connection, ids: list[int], seqs: list[int], prevs: list[bytes], hashes: list[bytes]) -> int:
    """Give rows their places in one statement; return how many got one."""
    return conn.execute(_SEALED, {"ids": ids, "seqs": seqs, "prevs": prevs, "hashes": hashes}).rowcount


def insert_checkpoint(conn: Connection, row: Mapping[str, Any]) -> None:
    """Add a checkpoint."""
    conn.execute(sa.insert(checkpoints).inline(), row)


def ends(conn: Connection) -> tuple[int, int]:
    """Return (last seq in the chain, last seq of a checkpoint), of one moment; 0 for none."""
    row = conn.execute(
        sa.select(
            sa.select(sa.func.coalesce(sa.func.max(entries.c.seq), 0)).scalar_subquery(),
            sa.select(sa.func.coalesce(sa.func.max(checkpoints.c.seq), 0)).scalar_subquery(),
        )
    ).one()
    return row[0], row[1]


def chain(conn: Connection, *, upto: int, batch: int) -> Iterator[RowMapping]:
    """Stream the sealed rows by seq, ``batch`` at a time: constant memory, no long-lived cursor."""
    after = -(2**63)
    while True:
        query = sa.select(entries).where(entries.c.seq > after, entries.c.seq <= upto)
        rows = conn.execute(query.order_by(entries.c.seq).limit(batch)).mappings().all()
        yield from rows
        if len(rows) < batch:
            return
        after = rows[-1]["seq"]


def tail(conn: Connection, *, batch: int) -> Iterator[RowMapping]:
    """Stream the rows that are not sealed, by id."""
    after = -(2**63)
    while rows := unsealed(conn, after=after, limit=batch):
        yield from rows
        after = rows[-1]["id"]


def signed(conn: Connection, *, upto: int, batch: int) -> Iterator[RowMapping]:
    """Stream the checkpoints by seq."""
    after = -(2**63)
    while True:
        query = sa.select(checkpoints).where(checkpoints.c.seq > after, checkpoints.c.seq <= upto)
        rows = conn.execute(query.order_by(checkpoints.c.seq).limit(batch)).mappings().all()
        yield from rows
        if len(rows) < batch:
            return
        after = rows[-1]["seq"]


def copies(conn: Connection, limit: int) -> frozenset[bytes]:
    """Return nonces that occur more than once; the unique index allows none, unless somebody dropped it."""
    query = sa.select(entries.c.nonce).group_by(entries.c.nonce).having(sa.func.count() > 1).limit(limit)
    return frozenset(bytes(nonce) for nonce in conn.scalars(query))


def prev_after(conn: Connection, seq: int) -> bytes | None:
    """Return what the row after ``seq`` names as its predecessor's hash."""
    prev = conn.scalar(sa.select(entries.c.prev).where(entries.c.seq == seq + 1))
    return None if prev is None else bytes(prev)
