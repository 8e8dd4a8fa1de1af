"""The SQLite slice on a real directory: whole or not at all, cut by one rename, swept by folder name."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from valhalla.kernel.ids import new_id
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names, Slice
from valhalla.sandbox.slices.sqlite import SqliteSlice

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def cell() -> CellKey:
    return CellKey(os.urandom(32))


@pytest.fixture
def part(tmp_path: Path, cell: CellKey) -> SqliteSlice:
    return SqliteSlice(tmp_path / "sqlite", cell)


@pytest.fixture
def names(cell: CellKey) -> Names:
    return Names.for_sandbox(new_id(), cell=cell.cell, database="")


def opened(part: SqliteSlice, names: Names) -> sqlite3.Connection:
    return sqlite3.connect(part.connection(names, expires_at=SOON)["path"])


async def test_a_sandbox_is_a_private_file_with_the_template_in_wal_mode(part: SqliteSlice, names: Names) -> None:
    _: Slice = part
    await part.provision(names, expires_at=SOON)
    connection = part.connection(names, expires_at=SOON)
    path = Path(connection["path"])
    assert connection["url"] == f"sqlite:////{str(path)[1:]}"
    assert (path.parent.name, path.name) == (names.id, "db.sqlite")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with opened(part, names) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.execute("INSERT INTO communities (name) VALUES ('a')")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert (await part.probe(names)).ok
    database.close()


async def test_provision_is_idempotent_and_keeps_the_data(part: SqliteSlice, names: Names) -> None:
    await part.provision(names, expires_at=SOON)
    with opened(part, names) as database:
        database.execute("INSERT INTO communities (name) VALUES ('a')")
    await asyncio.gather(*(part.provision(names, expires_at=SOON) for _ in range(8)))
    assert database.execute("SELECT count(*) FROM communities").fetchone() == (1,)
    database.close()
    assert [found.name for found in await part.found()] == [names.id]


async def test_racing_provisions_make_one_folder(part: SqliteSlice, names: Names) -> None:
    await asyncio.gather(*(part.provision(names, expires_at=SOON) for _ in range(8)))
    assert [found.name for found in await part.found()] == [names.id]
    assert (await part.probe(names)).ok


async def test_after_a_cut_no_open_succeeds_and_makes_no_new_file(part: SqliteSlice, names: Names) -> None:
    await part.provision(names, expires_at=SOON)
    path = Path(part.connection(names, expires_at=SOON)["path"])
    await part.cut(names)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect(path).execute("CREATE TABLE t (x)")
    assert not path.parent.exists()
    assert list(path.parent.parent.rglob("db.sqlite*")) == []
    assert (await part.probe(names)).reason == "there is no database file"
    await part.cut(names)
    assert [found.name for found in await part.found()] == [f"{names.id}.cut"]


async def test_an_open_handle_outlives_the_cut_as_the_documentation_says(part: SqliteSlice, names: Names) -> None:
    await part.provision(names, expires_at=SOON)
    held = opened(part, names)
    held.execute("SELECT count(*) FROM communities").fetchone()
    await part.cut(names)
    await part.drop(names)
    assert held.execute("SELECT count(*) FROM communities").fetchone() == (0,)
    held.close()
    assert await part.found() == []


async def test_drop_removes_all_and_resumes_after_any_crash(part: SqliteSlice, names: Names, tmp_path: Path) -> None:
    await part.provision(names, expires_at=SOON)
    other = Names.for_sandbox(new_id(), cell="", database="")
    await part.provision(other, expires_at=SOON)
    (tmp_path / "sqlite" / f"{names.id}.new-0123abcd").mkdir()
    (tmp_path / "sqlite" / f"{names.id}.cut").mkdir()
    await asyncio.gather(*(part.drop(names) for _ in range(4)))
    await part.drop(names)
    assert [found.name for found in await part.found()] == [other.id]
    assert (await part.probe(other)).ok


async def test_a_kill_in_the_middle_of_a_provision_is_found_and_removed(
    part: SqliteSlice, names: Names, tmp_path: Path
) -> None:
    await part.found()
    (left := tmp_path / "sqlite" / f"{names.id}.new-0123abcd").mkdir()
    (left / "db.sqlite").write_bytes(b"half")
    assert not (await part.probe(names)).ok  # half a database is never in use
    found = await part.found()
    assert found == [Found("sqlite", "folder", left.name, names.id)]
    await part.remove(found[0])
    assert await part.found() == []


async def test_nothing_but_own_folders_is_found_or_removed(part: SqliteSlice, tmp_path: Path) -> None:
    await part.found()
    (tmp_path / "sqlite" / "notes").mkdir()
    (tmp_path / "precious").mkdir()
    assert await part.found() == []
    for name in ("notes", "../precious", ".", ".cell"):
        await part.remove(Found("sqlite", "folder", name, "x"))
    assert (tmp_path / "sqlite" / "notes").is_dir()
    assert (tmp_path / "precious").is_dir()


async def test_another_cells_directory_is_refused(part: SqliteSlice, names: Names, tmp_path: Path) -> None:
    await part.provision(names, expires_at=SOON)
    other = SqliteSlice(tmp_path / "sqlite", CellKey(os.urandom(32)))
    with pytest.raises(Misconfigured, match="belongs to cell"):
        await other.found()
    with pytest.raises(Misconfigured):
        await other.provision(names, expires_at=SOON)
    assert not (await other.ping()).ok
    assert (await part.ping()).ok


async def test_links_are_not_followed(part: SqliteSlice, names: Names, tmp_path: Path) -> None:
    await part.provision(names, expires_at=SOON)
    path = Path(part.connection(names, expires_at=SOON)["path"])
    (secret := tmp_path / "secret.sqlite").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(secret)
    assert (await part.probe(names)).reason == "the database is not a regular file"
    await part.cut(names)
    await part.drop(names)
    assert secret.exists()
    path.parent.symlink_to(tmp_path)
    await part.cut(names)
    await part.drop(names)
    assert secret.exists()
    assert not path.parent.is_symlink()


async def test_a_damaged_or_locked_database_is_told(tmp_path: Path, cell: CellKey, names: Names) -> None:
    part = SqliteSlice(tmp_path / "sqlite", cell, timeout=0.1)
    await part.provision(names, expires_at=SOON)
    path = Path(part.connection(names, expires_at=SOON)["path"])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("CREATE TABLE t (x)")
    assert "locked" in str((await part.probe(names)).reason)
    holder.close()
    path.write_bytes(b"nonsense" * 1000)
    assert "not a database" in str((await part.probe(names)).reason)


async def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path, cell: CellKey, names: Names) -> None:
    (tmp_path / "file").write_text("")
    part = SqliteSlice(tmp_path / "file" / "sqlite", cell)
    with pytest.raises(Unavailable) as caught:
        await part.provision(names, expires_at=SOON)
    assert caught.value.backend == "sqlite"
    assert not (await part.ping()).ok


async def test_a_full_disk_leaves_nothing(
    part: SqliteSlice, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await part.found()

    def full(path: str, **_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("valhalla.sandbox.slices.sqlite_folders.sqlite3.connect", full)
    with pytest.raises(Unavailable, match="disk is full"):
        await part.provision(names, expires_at=SOON)
    assert await part.found() == []


async def test_a_path_that_no_url_can_hold_is_refused(tmp_path: Path, cell: CellKey) -> None:
    """Only when somebody wants a file there: a control plane in such a place works otherwise."""
    part = SqliteSlice(tmp_path / "what?", cell)
    assert (await part.ping()).ok
    with pytest.raises(Misconfigured):
        await part.provision(Names.for_sandbox(new_id(), cell=cell.cell, database=""), expires_at=SOON)
