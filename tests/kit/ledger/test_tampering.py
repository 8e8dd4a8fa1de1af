"""No tampering with the ledger stays unseen, and each is named."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import sqlalchemy.exc
from tests.kit.ledger.tampering import COLUMNS, FREE, PLACED, SELECT_FORGED, C, E, fill, tamper

from valhalla.kit.cellkey import CellKey
from valhalla.kit.ledger import Ledger
from valhalla.kit.ledger.chain import content, link

OTHER = f"(SELECT {COLUMNS} FROM {E} b WHERE b.seq = 10 - a.seq)"


def test_an_untouched_ledger_is_sound(conn: sa.Connection, ledger: Ledger) -> None:
    """Rows sealed in several batches, and some not yet sealed."""
    fill(conn, ledger, 10)
    ledger.append(conn, actor="ann", action="did", kind="thing", subject="late")
    verdict = ledger.verify(conn, batch=3)
    assert (verdict.ok, verdict.sealed, verdict.unsealed, verdict.checkpoints) == (True, 10, 1, 3)
    assert verdict.anchor is not None
    assert verdict.anchor.seq == 10


@pytest.mark.parametrize(
    ("kind", "seq", "statements"),
    [
        ("altered", 5, [f"UPDATE {E} SET actor = 'eve' WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET details = details || '{{\"n\": 9}}' WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET at = at + interval '1 microsecond' WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET mac = sha256(mac) WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET hash = sha256(hash) WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET prev = sha256(prev) WHERE seq = 5"]),
        ("altered", 5, [f"UPDATE {E} SET actor = 'eve' WHERE seq IN (5, 9)"]),
        ("deleted", 5, [f"DELETE FROM {E} WHERE seq = 5"]),
        ("deleted", 1, [f"DELETE FROM {E} WHERE seq < 4"]),
        ("deleted", 5, [FREE, f"DELETE FROM {E} WHERE seq = 5", f"UPDATE {E} SET seq = seq - 1 WHERE seq > 5"]),
        ("truncated", 9, [f"DELETE FROM {E} WHERE seq > 8"]),
        ("truncated", 1, [f"DELETE FROM {E}"]),
        ("reordered", 3, [FREE, f"UPDATE {E} SET seq = 10 - seq WHERE seq IN (3, 7)"]),
        (
            "reordered", 3,
            [FREE, f"UPDATE {E} a SET ({COLUMNS}) = {OTHER} WHERE seq IN (3, 7)"],
        ),
        (
            "inserted", None,
            [f"INSERT INTO {E} ({COLUMNS}) {SELECT_FORGED} FROM {E} WHERE seq = 2"],
        ),
        ("inserted", None, [FREE, f"INSERT INTO {E} ({COLUMNS}) SELECT {COLUMNS} FROM {E} WHERE seq = 2"]),
        (
            "inserted", 11,
            [
                FREE,
                f"{PLACED} SELECT {COLUMNS}, 11, hash, sha256(hash) FROM {E} WHERE seq = 10",
            ],
        ),
        (
            "inserted", 5,
            [
                FREE, f"UPDATE {E} SET seq = seq + 1 WHERE seq >= 5",
                f"{PLACED} {SELECT_FORGED}, 5, prev, hash FROM {E} WHERE seq = 4",
            ],
        ),
        ("inserted", 0, [f"{PLACED} {SELECT_FORGED}, 0, prev, hash FROM {E} WHERE seq = 2"]),
        ("checkpoint-forged", 4, [f"UPDATE {C} SET signature = sha512(signature) WHERE seq = 4"]),
        ("checkpoint-forged", 8, [f"DELETE FROM {C} WHERE seq = 4"]),
        ("checkpoint-forged", 9, [f"DELETE FROM {C} WHERE seq > 8"]),
        ("checkpoint-forged", 20, [f"INSERT INTO {C} SELECT 20, hash, sealed_at, signature FROM {C} WHERE seq = 8"]),
        ("checkpoint-forged", 4, [f"UPDATE {C} SET sealed_at = sealed_at - interval '1 day' WHERE seq = 4"]),
    ],
)  # fmt: skip
def test_tampering_is_named(
    conn: sa.Connection, ledger: Ledger, kind: str, seq: int | None, statements: list[str]
) -> None:
    """The first fault, with its kind and its place."""
    fill(conn, ledger, 10)
    tamper(conn, *statements)
    fault = ledger.verify(conn, batch=3).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == (kind, seq), fault.detail


def test_a_rewritten_chain_does_not_fit_its_checkpoints(conn: sa.Connection, ledger: Ledger) -> None:
    """Whoever removes an entry and computes every later link anew cannot sign the checkpoints."""
    fill(conn, ledger, 10)
    tamper(conn, FREE, f"DELETE FROM {E} WHERE seq = 6", f"UPDATE {E} SET seq = seq - 1 WHERE seq > 6")
    head = conn.scalar(sa.text(f"SELECT hash FROM {E} WHERE seq = 5"))
    for row in conn.execute(sa.text(f"SELECT * FROM {E} WHERE seq > 5 ORDER BY seq")).mappings().all():
        new = link(bytes(head), row["id"], content(row), bytes(row["mac"]))
        conn.execute(
            sa.text(f"UPDATE {E} SET prev = :prev, hash = :hash WHERE id = :id"),
            {"prev": head, "hash": new, "id": row["id"]},
        )
        head = new
    fault = ledger.verify(conn).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("altered", 5)
    assert "5 to 8 were rewritten" in fault.detail


def test_an_anchor_finds_a_tail_cut_with_its_checkpoints(conn: sa.Connection, ledger: Ledger) -> None:
    """Without a note kept elsewhere such a cut leaves no trace; with it, it does."""
    fill(conn, ledger, 10)
    anchor = ledger.verify(conn).anchor
    tamper(conn, f"DELETE FROM {E} WHERE seq > 4", f"DELETE FROM {C} WHERE seq > 4")
    assert ledger.verify(conn).ok
    fault = ledger.verify(conn, anchor=anchor).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("truncated", 5)


def test_sealing_goes_on_after_a_cut_and_the_cut_stays_visible(conn: sa.Connection, ledger: Ledger) -> None:
    """The sealer continues from the signed checkpoint, so it does not heal the gap."""
    fill(conn, ledger, 8)
    tamper(conn, f"DELETE FROM {E} WHERE seq > 6")
    fill(conn, ledger, 3)
    fault = ledger.verify(conn).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("deleted", 7)


def test_another_key_vouches_for_nothing(conn: sa.Connection, ledger: Ledger) -> None:
    """A ledger written under another cell key is foreign from its first row."""
    fill(conn, ledger, 3)
    fault = Ledger(CellKey(bytes(32))).verify(conn).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == ("inserted", 1)


@pytest.mark.parametrize(
    "statement",
    [
        f"DELETE FROM {E} WHERE seq = 1",
        f"TRUNCATE {E}",
        f"UPDATE {E} SET actor = 'eve' WHERE seq = 1",
        f"UPDATE {E} SET seq = NULL, prev = NULL, hash = NULL WHERE seq = 1",
        f"UPDATE {E} SET actor = 'eve' WHERE seq IS NULL",
        f"UPDATE {E} SET actor = 'eve', seq = 99, prev = '', hash = '' WHERE seq IS NULL",
        f"DELETE FROM {C}",
        f"UPDATE {C} SET sealed_at = now()",
        f"TRUNCATE {C}",
    ],
)
def test_the_database_refuses_what_is_not_an_append(conn: sa.Connection, ledger: Ledger, statement: str) -> None:
    """Even the owner's ordinary statements cannot change history."""
    fill(conn, ledger, 2)
    ledger.append(conn, actor="ann", action="did", kind="thing", subject="unsealed")
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="append-only"):
        conn.execute(sa.text(statement))
