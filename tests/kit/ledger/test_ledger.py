"""What the ledger stores and shows, and how it is sealed, by many at once and over lost connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
import sqlalchemy.exc
from tests.kit.ledger.tampering import E, fill

from valhalla.cli import witness
from valhalla.kit.cellkey import CellKey
from valhalla.kit.db import Database
from valhalla.kit.errors import BadCheckpoint
from valhalla.kit.json import dumps
from valhalla.kit.ledger import Ledger, Sealer


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
