"""A box in memory and in a file: isolated, reset, copied, and gone at the end."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest

from valhalla.sandbox.local import Box, BoxBusy, local, opening

SQL = ["CREATE TABLE t (id integer PRIMARY KEY AUTOINCREMENT, x text)"]


@pytest.fixture(params=["memory", "file"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "boxes"


def rows(box: Box) -> list[str]:
    return [x for (x,) in box.connect().execute("SELECT x FROM t ORDER BY id")]


def add(box: Box, value: str) -> None:
    with box.connect() as connection:
        connection.execute("INSERT INTO t (x) VALUES (?)", [value])


def test_connections_see_the_same_data_and_boxes_do_not(where: Path | None) -> None:
    with local(SQL, path=where) as one, local(SQL, path=where) as other:
        add(one, "a")
        assert (rows(one), rows(other)) == (["a"], [])


def test_foreign_keys_are_enforced_on_every_connection(where: Path | None) -> None:
    with local(path=where) as box:
        for _ in range(2):
            connection = box.connect()
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                connection.execute("INSERT INTO profiles (community_id) VALUES ('nobody')")
            connection.rollback()


def test_a_connection_does_not_see_what_another_has_not_committed(tmp_path: Path) -> None:
    with local(SQL, path=tmp_path) as box:
        writer = box.connect()
        writer.execute("INSERT INTO t (x) VALUES ('open')")
        assert rows(box) == []
        writer.commit()
        assert rows(box) == ["open"]


def test_connecting_waits_for_nobody(where: Path | None) -> None:
    with local(SQL, path=where) as box:
        writer = box.connect()
        writer.execute("INSERT INTO t (x) VALUES ('open')")
        started = time.monotonic()
        box.connect()
        assert time.monotonic() - started < 4


def test_threads_wait_for_each_other_instead_of_failing(where: Path | None) -> None:
    """With a shared cache most of these would end with "database table is locked"."""
    with local(SQL, path=where) as box:
        failures: list[Exception] = []

        def write() -> None:
            connection = box.connect()
            try:
                for _ in range(50):
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("INSERT INTO t (x) VALUES ('w')")
                    connection.execute("SELECT count(*) FROM t").fetchall()
                    connection.commit()
            except sqlite3.Error as error:
                failures.append(error)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failures, len(rows(box))) == ([], 200)


def test_reset_returns_to_template_and_seed_also_for_open_connections(where: Path | None) -> None:
    with local(SQL, path=where, seed="INSERT INTO t (x) VALUES ('seed')") as box:
        connection = box.connect()
        add(box, "mine")
        connection.execute("CREATE TABLE extra (y)")
        connection.execute("PRAGMA user_version = 7")
        box.reset()
        assert rows(box) == ["seed"]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'extra'").fetchall() == []
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        add(box, "again")
        assert connection.execute("SELECT max(id) FROM t").fetchone() == (2,)  # the sequence went back too
        mode = "memory" if where is None else "wal"
        assert box.connect().execute("PRAGMA journal_mode").fetchone() == (mode,)


def test_reset_brings_back_a_dropped_schema(where: Path | None) -> None:
    with local(path=where) as box:
        box.connect().executescript("DROP TABLE badges; DROP TABLE profiles; DROP TABLE communities; VACUUM")
        box.reset()
        assert box.connect().execute("SELECT count(*) FROM badges").fetchone() == (0,)


def test_reset_refuses_an_open_transaction_in_time_and_changes_nothing(
    where: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valhalla.sandbox.local.box.BUSY_MS", 100)
    with local(SQL, path=where) as box:
        add(box, "kept")
        writer = box.connect()
        writer.execute("INSERT INTO t (x) VALUES ('open')")
        started = time.monotonic()
        with pytest.raises(BoxBusy, match="transaction"):
            box.reset()
        assert time.monotonic() - started < 2
        writer.commit()
        assert rows(box) == ["kept", "open"]
        box.reset()
        assert rows(box) == []


def test_a_snapshot_is_one_private_file_that_another_box_starts_from(where: Path | None, tmp_path: Path) -> None:
    with local(SQL, path=where) as box:
        add(box, "a")
        copy = box.snapshot(tmp_path / "copy.sqlite")
        add(box, "later")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with pytest.raises(FileExistsError):
            box.snapshot(copy)
    with local(copy) as box:
        assert rows(box) == ["a"]
        add(box, "b")
        box.reset()
        assert rows(box) == ["a"]
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.sqlite"]  # no -wal, no -shm


def test_everything_in_a_file_is_private(tmp_path: Path) -> None:
    with local(SQL, path=tmp_path) as box:
        add(box, "a")
        assert box.path is not None
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in box.path.parent.iterdir()}
        assert modes == {"db.sqlite": 0o600, "db.sqlite-wal": 0o600, "db.sqlite-shm": 0o600}
        assert stat.S_IMODE(box.path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_also_when_the_body_raises_with_connections_open(where: Path | None, tmp_path: Path) -> None:
    held: list[sqlite3.Connection] = []

    def body(box: Box) -> None:
        held.append(box.connect())
        held[0].execute("INSERT INTO t (x) VALUES ('open')")
        raise ZeroDivisionError

    box = local(SQL, path=where)
    with pytest.raises(ZeroDivisionError), box:
        body(box)
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(("vh-", ".vh-"))] == []
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        held[0].execute("SELECT 1")
    with pytest.raises(sqlite3.OperationalError, match="ended"):
        box.connect()
    box.close()


def test_the_memory_is_gone_with_the_box() -> None:
    """Whoever kept the address finds an empty database there."""
    with local(SQL) as box:
        uri = box.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as inside:
            assert inside.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert sqlite3.connect(uri, uri=True).execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_box_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str, **_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("valhalla.sandbox.local.box.open_connection", fail)
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        local(path=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_opening_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        opening.open_connection(f"{(tmp_path / 'none').as_uri()}?mode=rw")
    assert list(tmp_path.iterdir()) == []
