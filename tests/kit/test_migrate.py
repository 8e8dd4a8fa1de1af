"""The schema's history: complete, safe to run twice and by two at once, and never backwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import valhalla.kit.changes
import valhalla.kit.outbox  # noqa: F401 - its tables belong to the metadata that is compared
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit import migrate
from valhalla.kit.db import metadata

SCRIPTS = Path(migrate.__file__).parent / "migrations"


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def engine(url: str) -> Any:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    yield engine
    engine.dispose()


def test_the_constant_is_alembics_head() -> None:
    """One head, and the code knows it without importing alembic."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_a_fresh_database_is_brought_up_once(url: str, engine: sa.Engine) -> None:
    """The second call finds nothing to do."""
    with engine.connect() as conn:
        assert (migrate.current(conn), migrate.needs_upgrade(conn)) == (None, True)
    assert migrate.upgrade_blocking(url)
    assert not migrate.upgrade_blocking(url)
    with engine.connect() as conn:
        assert (migrate.current(conn), migrate.needs_upgrade(conn)) == (migrate.HEAD, False)


def test_the_migrations_make_the_tables_the_code_uses(url: str, engine: sa.Engine) -> None:
    """Columns, types, constraints and indexes of the live schema are those of the metadata."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrate.upgrade_blocking(url)
    ours = {"ledger_entries", "ledger_checkpoints", "registry_heads", "registry_records", "registry_changes", "events"}

    def include(_object: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return kind != "table" or name in ours

    with engine.connect() as conn:
        options = {
            "include_schemas": True, "include_object": include, "compare_type": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "valhalla",
        }  # fmt: skip
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


def test_every_step_can_be_taken_back(url: str, engine: sa.Engine) -> None:
    """Down to nothing and up again."""
    from alembic import command
    from alembic.config import Config

    migrate.upgrade_blocking(url)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    with engine.connect() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "base")
        conn.commit()
        assert sa.inspect(conn).get_table_names(schema="valhalla") == ["alembic_version"]
    assert migrate.upgrade_blocking(url)


def test_a_newer_database_is_refused(url: str, engine: sa.Engine) -> None:
    """An old release must not write to it."""
    migrate.upgrade_blocking(url)
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE valhalla.alembic_version SET version_num = '9999'"))
    with engine.connect() as conn, pytest.raises(Misconfigured, match="9999"):
        migrate.needs_upgrade(conn)
    with pytest.raises(Misconfigured):
        migrate.upgrade_blocking(url)


def test_processes_that_migrate_at_once_do_not_collide(url: str, engine: sa.Engine) -> None:
    """One works, the others find it done; nobody fails."""
    program = f"from valhalla.kit.migrate import upgrade_blocking; print(upgrade_blocking({url!r}))"
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [child.communicate(timeout=60) for child in children]
    assert all(child.returncode == 0 for child in children), results
    assert sorted(out.strip() for out, _ in results) == ["False", "True"]
    with engine.connect() as conn:
        assert migrate.current(conn) == migrate.HEAD


def test_the_wait_for_another_migration_is_bounded(url: str, engine: sa.Engine) -> None:
    """A stuck migration elsewhere is an answer, not an endless start."""
    from valhalla.kit.advisory import MIGRATIONS

    with engine.connect() as conn:
        conn.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATIONS})
        with pytest.raises(Unavailable, match="another process"):
            migrate.upgrade_blocking(url, timeout=0.2)


def test_a_failed_step_leaves_nothing(url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are one transaction."""
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE SCHEMA valhalla"))
        conn.execute(sa.text("CREATE TABLE valhalla.events (id int)"))
    with pytest.raises(sa.exc.ProgrammingError):
        migrate.upgrade_blocking(url)
    with engine.connect() as conn:
        assert sa.inspect(conn).get_table_names(schema="valhalla") == ["events"]


def test_no_server_is_unavailable() -> None:
    """Not a stack trace of the driver."""
    with pytest.raises(Unavailable):
        migrate.upgrade_blocking("postgresql://postgres@127.0.0.1:1/none")


def test_the_check_does_not_import_alembic(url: str) -> None:
    """Half a second that a start without work does not pay."""
    migrate.upgrade_blocking(url)
    program = (
        "import sys; from valhalla.kit.migrate import upgrade_blocking;"
        f"assert not upgrade_blocking({url!r}); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
