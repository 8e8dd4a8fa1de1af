"""What a box can start from, and what is said about contents that fail."""

from __future__ import annotations

import re
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import valhalla.sandbox.templates as postgres_templates
from valhalla.sandbox.errors import TemplateFailed, TemplateUnknown
from valhalla.sandbox.local import local


def test_the_built_in_template_has_the_tables_columns_and_indexes_of_the_postgres_one() -> None:
    sql = (Path(next(iter(postgres_templates.__path__))) / "community.sql").read_text()
    expected = {
        table: re.findall(r"^    (?!UNIQUE)(\w+) ", body, re.MULTILINE)
        for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", sql, re.DOTALL)
    }
    assert len(expected) == 3
    with local() as box:
        connection = box.connect()
        built = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in expected}
        indexes = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert built == expected
    assert set(re.findall(r"CREATE INDEX (\w+)", sql)) <= indexes


def test_defaults_are_a_version_4_uuid_the_time_in_utc_and_an_empty_object() -> None:
    with local() as box:
        connection = box.connect()
        for _ in range(50):
            connection.execute("INSERT INTO communities (name) VALUES ('a')")
        for identity, at, settings, active in connection.execute(
            "SELECT id, created_at, settings, is_active FROM communities"
        ):
            assert (uuid.UUID(identity).version, uuid.UUID(identity).hex) == (4, identity)
            assert uuid.UUID(identity).variant == uuid.RFC_4122
            age = datetime.now(UTC) - datetime.fromisoformat(at).replace(tzinfo=UTC)
            assert timedelta(0) <= age < timedelta(minutes=1)
            assert (settings, active) == ("{}", 1)


@pytest.mark.parametrize(
    ("column", "value"), [("is_active", 2), ("is_active", "yes"), ("settings", "{"), ("name", None)]
)
def test_what_postgres_would_refuse_is_refused(column: str, value: object) -> None:
    with local() as box, pytest.raises(sqlite3.IntegrityError):
        box.connect().execute(
            f"INSERT OR ABORT INTO communities (name, {column}) VALUES ('a', ?)"
            if column != "name"
            else "INSERT INTO communities (name) VALUES (?)",
            [value],
        )


def test_children_end_with_their_parent_as_in_postgres() -> None:
    with local() as box:
        connection = box.connect()
        connection.executescript(
            "INSERT INTO communities (id, name) VALUES ('c', 'a');"
            "INSERT INTO profiles (id, community_id) VALUES ('p', 'c'), ('q', 'c');"
            "INSERT INTO badges (community_id, profile_id, badge_type, awarded_by) VALUES ('c', 'p', 'b', 'q');"
            "DELETE FROM profiles WHERE id = 'q'"
        )
        assert connection.execute("SELECT awarded_by FROM badges").fetchall() == [(None,)]
        connection.execute("DELETE FROM communities")
        assert connection.execute("SELECT count(*) FROM badges").fetchone() == (0,)


def test_files_folders_and_statements_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "2_rows.sql").write_text("INSERT INTO t VALUES ('file')")
    (tmp_path / "1_table.sql").write_text("CREATE TABLE t (x)")
    (tmp_path / "notes.txt").write_text("not SQL")
    with local(
        [tmp_path, "INSERT INTO t VALUES ('text')"], seed=lambda c: c.execute("INSERT INTO t VALUES ('call')")
    ) as box:
        found = [x for (x,) in box.connect().execute("SELECT x FROM t ORDER BY rowid")]
    assert found == ["file", "text", "call"]


def test_empty_is_empty() -> None:
    with local("empty") as box:
        assert box.connect().execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_an_unknown_template_names_the_known_ones() -> None:
    with pytest.raises(TemplateUnknown) as caught:
        local("comunity")
    assert caught.value.extra == {"known": ["community", "empty"]}
    with pytest.raises(TemplateUnknown, match=r"none\.sql does not exist"):
        local(Path("none.sql"))


def test_a_failing_file_or_statement_is_named(tmp_path: Path) -> None:
    (tmp_path / "3_broken.sql").write_text("CREATE TABLE t (x); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(TemplateFailed, match=r"3_broken\.sql: no such table: nowhere"):
        local(tmp_path)
    with pytest.raises(TemplateFailed, match=r"statement 2: .*syntax"):
        local(["CREATE TABLE t (x)", "CREATE TALBE u (x)"])
    (empty := tmp_path / "folder").mkdir()
    with pytest.raises(TemplateFailed, match=r"no \.sql files"):
        local(empty)


def test_a_damaged_database_and_a_late_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(TemplateFailed, match=r"bad\.sqlite"):
        local(tmp_path / "bad.sqlite")
    with local("empty") as box:
        good = box.snapshot(tmp_path / "good.sqlite")
    with pytest.raises(TemplateFailed, match="must come first"):
        local(["CREATE TABLE t (x)", good])
    with pytest.raises(TemplateFailed, match="must come first"):
        local("community", seed=good)
