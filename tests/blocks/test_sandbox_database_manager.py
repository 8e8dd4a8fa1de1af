"""Sessions on real databases: isolated, reset, closed, and never on production."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from valhalla import SandboxDatabaseManager
from valhalla.blocks.errors import BadDatabase, DatabaseClosed, NotDisposable, ProductionDatabase
from valhalla.kernel.problems import Unavailable
from valhalla.kit import log
from valhalla.sandbox.errors import TemplateFailed

if TYPE_CHECKING:
    from tests.conftest import Servers

ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL); INSERT INTO orders VALUES (1, 'helmet');"
COUNT = text("SELECT count(*) FROM orders")
PATIENCE = 30.0


@pytest.fixture(scope="module")
def postgres(servers: Servers) -> Iterator[str]:
    """Return the address of a database of its own."""
    name = f"blocks_{secrets.token_hex(4)}"
    with psycopg.connect(servers.superuser_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
        yield conn.info.dsn and _with_database(servers.superuser_url, name)
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _with_database(url: str, name: str) -> str:
    head, _, tail = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{tail}" if tail else "")


@pytest.fixture(params=["memory", "file", "postgres"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SandboxDatabaseManager]:
    if request.param == "memory":
        made = SandboxDatabaseManager(use_memory=True)
    elif request.param == "file":
        made = SandboxDatabaseManager(f"sqlite:///{tmp_path}/shop.db", disposable=True)
    else:
        made = SandboxDatabaseManager(request.getfixturevalue("postgres"), disposable=True)
        made.reset()
    with made:
        yield made


class TestEveryKind:
    """The same on PostgreSQL, on a file, and in memory."""

    def test_what_is_written_is_there_for_the_next_session(self, manager: SandboxDatabaseManager) -> None:
        manager.seed(ORDERS)
        with manager.session() as session:
            session.execute(text("INSERT INTO orders VALUES (2, 'shield')"))
        with manager.get_session() as session:
            assert session.scalar(COUNT) == 2

        def fail() -> None:
            with manager.session() as session:
                session.execute(text("DELETE FROM orders"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with manager.get_session() as session:
            assert session.scalar(COUNT) == 2

    def test_sessions_see_nothing_of_each_other_and_roll_back_only_their_own(
        self, manager: SandboxDatabaseManager
    ) -> None:
        manager.seed(ORDERS)
        with manager.get_session() as one, manager.get_session() as other:
            one.execute(text("INSERT INTO orders VALUES (2, 'shield')"))
            assert other.scalar(COUNT) == 1
            other.rollback()
            one.commit()
            assert other.scalar(COUNT) == 2

    def test_threads_write_side_by_side(self, manager: SandboxDatabaseManager) -> None:
        manager.seed(ORDERS)

        def write(number: int) -> None:
            with manager.session() as session:
                session.execute(text("INSERT INTO orders VALUES (:id, 'axe')"), {"id": number})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(10, 30)))
        with manager.get_session() as session:
            assert session.scalar(COUNT) == 21

    def test_a_reset_returns_to_what_was_seeded(self, manager: SandboxDatabaseManager, tmp_path: Path) -> None:
        file = tmp_path / "more.sql"
        file.write_text("CREATE TABLE people (name TEXT); CREATE VIEW names AS SELECT name FROM people;")
        manager.seed(ORDERS, file, lambda session: session.execute(text("INSERT INTO people VALUES ('ana')")))
        with manager.session() as session:
            session.execute(text("CREATE TABLE extra (x INTEGER)"))
            session.execute(text("DELETE FROM people"))
            session.execute(text("DROP TABLE orders"))
        manager.reset()
        with manager.get_session() as session:
            assert session.scalar(COUNT) == 1
            assert session.scalar(text("SELECT name FROM names")) == "ana"
            with pytest.raises(Exception, match="extra"):
                session.execute(text("SELECT * FROM extra"))

    def test_a_seed_that_fails_leaves_nothing(self, manager: SandboxDatabaseManager, tmp_path: Path) -> None:
        for seed in ("CREATE TABLE half (x INTEGER); INSERT INTO nowhere VALUES (1);", tmp_path / "none.sql"):
            with pytest.raises(TemplateFailed):
                manager.seed(seed)
        with manager.get_session() as session, pytest.raises(Exception, match="half"):
            session.execute(text("SELECT * FROM half"))
        manager.reset()

    def test_the_probe_does_real_work_and_leaves_nothing(self, manager: SandboxDatabaseManager) -> None:
        manager.seed(ORDERS)
        assert manager.probe() is None
        with manager.get_session() as session:
            session.execute(text("INSERT INTO orders VALUES (2, 'shield')"))
            # also while somebody writes
            manager.probe()
            with pytest.raises(Exception, match="valhalla_probe"):
                session.execute(text("SELECT * FROM valhalla_probe"))

    def test_after_cleanup_there_are_no_sessions(self, manager: SandboxDatabaseManager) -> None:
        manager.seed(ORDERS)
        session = manager.get_session()
        session.execute(COUNT)
        manager.cleanup()
        manager.cleanup()
        assert not session.in_transaction()
        for use in (manager.get_session, manager.probe, lambda: manager.engine, manager.reset):
            with pytest.raises(DatabaseClosed):
                use()


class TestMemory:
    """A private database that ends with its manager."""

    def test_batch_1(self) -> None:
        manager = SandboxDatabaseManager(use_memory=True)
        assert manager.database_url == "sqlite:///:memory:"
        assert manager.engine is not None
        session = manager.get_session()
        assert session.scalar(text("SELECT 1")) == 1
        session.close()
        manager.cleanup()

    def test_two_managers_share_nothing_and_leave_nothing(self) -> None:
        with SandboxDatabaseManager(use_memory=True) as one, SandboxDatabaseManager(use_memory=True) as other:
            one.seed(ORDERS)
            other.seed(ORDERS)
            path = Path(str(one.engine.url.database))
            assert path.stat().st_mode & 0o777 == 0o600
        assert not path.parent.exists()


class TestArguments:
    """One database, and none of production."""

    def test_one_database_is_named(self) -> None:
        for wrong in ({"use_memory": True, "db_url": "sqlite:///shop.db"}, {}):
            with pytest.raises(BadDatabase):
                SandboxDatabaseManager(**wrong)  # pyright: ignore[reportArgumentType]

    def test_a_url_of_production_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ProductionDatabase) as refused:
            SandboxDatabaseManager("postgresql://ana:hunter2@prod.example.com/shop")
        assert "hunter2" not in str(refused.value)
        monkeypatch.setenv("APP_ENV", "production")
        with pytest.raises(ProductionDatabase):
            SandboxDatabaseManager("sqlite:///shop.db")
        SandboxDatabaseManager(use_memory=True).cleanup()

    def test_a_database_can_say_itself_that_it_is_production(self, postgres: str) -> None:
        with psycopg.connect(postgres, autocommit=True) as conn:
            name = conn.info.dbname
            conn.execute(f"ALTER DATABASE {name} SET valhalla.environment = 'production'")
            try:
                with SandboxDatabaseManager(postgres, disposable=True) as manager:
                    for use in (lambda: manager.get_session().execute(text("SELECT 1")), manager.probe, manager.reset):
                        with pytest.raises(ProductionDatabase, match=r"valhalla\.environment"):
                            use()
            finally:
                conn.execute(f"ALTER DATABASE {name} RESET valhalla.environment")

    def test_what_was_not_declared_disposable_is_not_emptied(self, tmp_path: Path, postgres: str) -> None:
        for url in (f"sqlite:///{tmp_path}/shop.db", postgres):
            with SandboxDatabaseManager(url) as manager, pytest.raises(NotDisposable):
                manager.reset()

    def test_no_password_is_logged_or_shown(self, tmp_path: Path) -> None:
        log.configure(level="debug", file=tmp_path / "log", human=False)
        try:
            manager = SandboxDatabaseManager("postgresql://ana:hunter2@127.0.0.1:1/shop?password=hunter2")
        finally:
            log.configure()
        written = (tmp_path / "log").read_text()
        assert "a sandbox database is used" in written
        with pytest.raises(Unavailable) as away:
            manager.probe()
        with pytest.raises(OperationalError) as lost:
            manager.get_session().execute(text("SELECT 1"))
        with manager, pytest.raises(Unavailable) as failed:
            manager.seed(ORDERS)
        everything = f"{written} {manager!r} {away.value} {lost.value} {failed.value} {away.value.document()}"
        assert "hunter2" not in everything


class TestFailures:
    """Databases that go away."""

    def test_connections_that_the_server_ended_are_replaced(self, postgres: str) -> None:
        with SandboxDatabaseManager(postgres, disposable=True) as manager:
            manager.reset()
            manager.seed(ORDERS)
            with psycopg.connect(postgres, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            with manager.get_session() as session:
                assert session.scalar(COUNT) == 1

    def test_a_file_that_cannot_be_opened_is_a_reason(self, tmp_path: Path) -> None:
        with SandboxDatabaseManager(f"sqlite:///{tmp_path}/none/shop.db") as manager, pytest.raises(Unavailable):
            manager.probe()
        (tmp_path / "shop.db").write_bytes(os.urandom(4096))
        with SandboxDatabaseManager(f"sqlite:///{tmp_path}/shop.db") as manager, pytest.raises(Unavailable):
            manager.probe()

    def test_cleanup_does_not_wait_for_a_session_in_another_thread(self) -> None:
        begun, go_on, ended = threading.Event(), threading.Event(), list[Any]()

        def use() -> None:
            session = manager.get_session()
            try:
                session.execute(text("SELECT 1"))
                begun.set()
                go_on.wait(PATIENCE)
                session.execute(text("SELECT 1"))
            except Exception as error:  # noqa: BLE001 - any error will do: what matters is that it ends
                ended.append(error)
            else:
                ended.append(None)

        manager = SandboxDatabaseManager(use_memory=True)
        thread = threading.Thread(target=use)
        thread.start()
        assert begun.wait(PATIENCE)
        manager.cleanup()
        go_on.set()
        thread.join(PATIENCE)
        assert len(ended) == 1
