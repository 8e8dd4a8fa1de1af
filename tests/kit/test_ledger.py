"""The ledger: what it stores, how it is sealed, and that no tampering stays unseen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
import sqlalchemy.exc
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.cli import witness
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.errors import BadCheckpoint
from valhalla.kit.json import dumps
from valhalla.kit.ledger import Ledger, Sealer
from valhalla.kit.ledger.chain import content, link

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def engine(database_url: str) -> Any:
    engine = sa.create_engine(
        database_url.replace("postgresql:", "postgresql+psycopg:"), json_deserializer=__import__("orjson").loads,
        json_serializer=lambda v: __import__("orjson").dumps(v).decode(),
    )  # fmt: skip
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: sa.Engine) -> Any:
    """A transaction that leaves nothing behind, in which the triggers can be switched off."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


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


@settings(max_examples=30, deadline=None)
@given(details=st.dictionaries(st.text(max_size=8), json, max_size=5), who=st.text(max_size=10))
def test_whatever_is_written_verifies(engine: sa.Engine, ledger: Ledger, details: dict[str, Any], who: str) -> None:
    """Numbers, NULs, surrogates: what Postgres gives back is what the MAC covered."""
    with engine.connect() as conn:
        ledger.append(conn, actor=who, action="a", kind=who, subject=who, details=details, correlation_id=who)
        assert ledger.seal(conn) == 1
        verdict = ledger.verify(conn)
        assert verdict.ok, verdict.fault
        conn.rollback()


def _drop(n: int, m: int) -> tuple[str | None, list[str]]:
    return "deleted", [f"DELETE FROM {E} WHERE seq = {n}"]


def _alter(n: int, m: int) -> tuple[str | None, list[str]]:
    return "altered", [f"UPDATE {E} SET subject = subject || 'x' WHERE seq = {n}"]


def _swap(n: int, m: int) -> tuple[str | None, list[str]]:
    return "reordered", [FREE, f"UPDATE {E} SET seq = {n + m} - seq WHERE seq IN ({n}, {m})"]


def _swap_content(n: int, m: int) -> tuple[str | None, list[str]]:
    inner = f"(SELECT {COLUMNS} FROM {E} b WHERE b.seq = {n + m} - a.seq)"
    return "reordered", [FREE, f"UPDATE {E} a SET ({COLUMNS}) = {inner} WHERE seq IN ({n}, {m})"]


def _forge(n: int, m: int) -> tuple[str | None, list[str]]:
    return "inserted", [
        FREE,
        f"UPDATE {E} SET seq = seq + 1 WHERE seq >= {n}",
        f"{PLACED} {SELECT_FORGED}, {n}, prev, hash FROM {E} WHERE seq > {n} ORDER BY seq LIMIT 1",
    ]


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    attack=st.sampled_from([_drop, _alter, _swap, _swap_content, _forge]),
    data=st.data(),
)
def test_random_tampering_is_found_where_it_begins(
    engine: sa.Engine, ledger: Ledger, batches: list[int], attack: Any, data: st.DataObject
) -> None:
    """Any number of batches of any size, any attack on any place."""
    total = sum(batches)
    first = data.draw(st.integers(1, total))
    second = data.draw(st.integers(1, total))
    first, second = min(first, second), max(first, second)
    with engine.connect() as conn:
        for count in batches:
            fill(conn, ledger, count, batch=count)
        kind, statements = attack(first, second)
        tamper(conn, *statements)
        fault = ledger.verify(conn, batch=data.draw(st.integers(1, 7))).fault
        conn.rollback()
    if first == second and kind == "reordered":
        assert fault is None
        return
    if kind == "deleted" and first == total:
        kind = "truncated"
    assert fault is not None
    assert (fault.kind, fault.seq) == (kind, first), fault.detail


async def test_pages_run_newest_first_through_every_filter(db: Database, ledger: Ledger) -> None:
    """Following the cursor shows each matching entry once."""
    await db.run(
        ledger.append_many,
        [
            {"actor": f"a{n % 2}", "action": "did", "kind": "paged", "subject": f"s{n % 3}", "details": {"n": n}}
            for n in range(12)
        ],
    )
    seen: list[int] = []
    cursor = None
    while True:
        page = await db.read(ledger.page, kind="paged", actor="a1", limit=4, cursor=cursor)
        seen += [entry.details["n"] for entry in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == [11, 9, 7, 5, 3, 1]


async def test_secrets_do_not_reach_the_table(db: Database, ledger: Ledger) -> None:
    """Redaction happens before the insert."""
    await db.run(
        ledger.append, actor="ann", action="did", kind="secret", subject="s",
        details={"password": "hunter2", "url": "postgresql://u:hunter2@h/d"},
    )  # fmt: skip
    raw = await db.read(lambda c: c.scalar(sa.text(f"SELECT details::text FROM {E} WHERE kind = 'secret'")))
    assert "hunter2" not in raw


async def test_writers_and_sealers_never_fork_the_chain(new_migrated: Any, ledger: Ledger) -> None:
    """Eight writers and three sealers at once: one contiguous chain of everything."""
    url = new_migrated()
    db = Database(url)
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for n in range(30):
            await db.run(ledger.append, actor=str(writer), action="did", kind="k", subject=str(n))

    async def seal() -> None:
        while not done.is_set():
            await db.run(ledger.seal, 7)
            await asyncio.sleep(0)

    sealers = [asyncio.create_task(seal()) for _ in range(3)]
    await asyncio.gather(*(write(n) for n in range(8)))
    done.set()
    await asyncio.gather(*sealers)
    assert await Sealer(db, ledger).once() >= 0
    verdict = await db.run(ledger.verify)
    assert (verdict.ok, verdict.sealed, verdict.unsealed) == (True, 240, 0), verdict.fault
    await db.close()


async def test_the_sealer_survives_lost_connections(new_migrated: Any, ledger: Ledger) -> None:
    """Terminated sessions delay sealing; entries written afterwards are sealed."""
    url = new_migrated()
    db, other = Database(url, application_name="sealer"), Database(url, application_name="writer")
    stop = asyncio.Event()
    sealer = Sealer(db, ledger, interval=0.02)
    task = asyncio.create_task(sealer.run(stop))
    kill = sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sealer'")
    for n in range(10):
        await other.run(ledger.append, actor="a", action="did", kind="k", subject=str(n))
        await other.run(lambda c: c.execute(kill))
        await asyncio.sleep(0.03)
    stop.set()
    await task
    await Sealer(other, ledger).once()
    verdict = await other.run(ledger.verify)
    assert (verdict.ok, verdict.sealed) == (True, 10), verdict.fault
    await db.close()
    await other.close()


async def test_a_kept_checkpoint_proves_what_was_there(tmp_path: Path, new_migrated: Any, ledger: Ledger) -> None:
    """Whoever keeps a note can recompute the chain from an export, and sees that a ledger was made anew."""
    url = new_migrated()
    db = Database(url)
    try:
        await db.run(fill, ledger, 9)
        page = await db.read(ledger.witnesses, limit=2)
        assert [each.size for each in page.items] == [9, 8]
        assert [each.size for each in (await db.read(ledger.witnesses, cursor=page.next)).items] == [4]
        file, entries = tmp_path / "kept", tmp_path / "entries"
        pinned = witness.keep(file, page.items[1].note, ledger.verifier)
        kept = witness.read(file, None)
        assert (kept.size, kept.origin, pinned.name) == (8, ledger.origin, "kept.pub")
        rows = [*await db.read(ledger.export, limit=5), *await db.read(ledger.export, after=5)]
        entries.write_bytes(b"".join(dumps(row) + b"\n" for row in rows))
        assert witness.recompute(entries, kept)["ok"]
        for bad in (rows[:7], rows[1:], [{**rows[0], "said": rows[0]["said"].replace("ann", "eve")}, *rows[1:]]):
            entries.write_bytes(b"".join(dumps(row) + b"\n" for row in bad))
            assert not witness.recompute(entries, kept)["ok"]
        with pytest.raises(BadCheckpoint):
            witness.read(file, Ledger(CellKey(bytes(32))).verifier)
        with pytest.raises(click.UsageError, match="another key"):
            witness.keep(file, page.items[0].note, Ledger(CellKey(bytes(32))).verifier)
    finally:
        await db.close()
