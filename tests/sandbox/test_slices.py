"""A sandbox with only the slices that were asked for, and one with a database of its own."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.sandbox.conftest import Left
from tests.sandbox.plane import MovableClock, Team, work_in

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import SliceMissing, SliceUnknown, TemplateFailed, TemplateUnknown


async def rows_of(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@pytest.fixture
def write(folder: Path) -> Iterator[Any]:
    """Write a template: relative path → text."""
    made: list[Path] = []

    def make(name: str, files: dict[str, str]) -> str:
        path = folder / "templates" / name
        made.append(path)
        for relative, text in files.items():
            (path / relative).parent.mkdir(parents=True, exist_ok=True)
            (path / relative).write_text(text)
        return name

    yield make
    for path in made:
        shutil.rmtree(path)


class TestSubset:
    async def test_sqlite_alone(self, team: Team, left: Left) -> None:
        """A file with the template in it; no other backend knows the sandbox."""
        created = await team.create(slices=["sqlite"], template="community")
        assert created.connection is not None
        assert set(created.connection) == {"sqlite", "env"}
        env = created.connection["env"]
        assert env["DATABASE_URL"] == created.connection["sqlite"]["url"]
        assert not {"REDIS_URL", "NATS_URL", "SANDBOX_SCHEMA"} & set(env)
        path = Path(created.connection["sqlite"]["path"])
        with sqlite3.connect(path) as connection:
            connection.execute("INSERT INTO communities (name) VALUES ('a')")
        assert await left(created.sandbox.id) == ["sqlite folder"]
        health = await team.runtime.sandboxes.health(team.principal, created.sandbox.id)
        assert health.health == "healthy"
        assert {"sqlite", "ttl", "routes", "lane"} == set(health.checks)
        await team.destroy(created.sandbox.id)
        assert not path.exists()
        assert await left(created.sandbox.id) == []

    async def test_two_of_them(self, team: Team, left: Left) -> None:
        created = await team.create(slices=["valkey", "postgres", "postgres"])
        assert created.sandbox.names.slices == ("postgres", "valkey")
        assert created.connection is not None
        assert set(created.connection) == {"postgres", "valkey", "env"}
        assert await left(created.sandbox.id) == ["postgres role", "postgres schema", "valkey user"]
        await team.destroy(created.sandbox.id)
        assert await left(created.sandbox.id) == []

    async def test_beside_the_others(self, team: Team) -> None:
        """Postgres keeps the usual name when there is a SQLite as well."""
        created = await team.create(slices=["sqlite", "postgres", "valkey", "nats"])
        assert created.connection is not None
        await work_in(created.connection)
        env = created.connection["env"]
        assert env["DATABASE_URL"] == created.connection["postgres"]["url"]
        assert env["SQLITE_PATH"] == created.connection["sqlite"]["path"]

    @pytest.mark.parametrize("wanted", [["mysql"], ["postgres", ""], [], ["Postgres"]])
    async def test_what_is_no_slice_is_refused(self, team: Team, wanted: list[str]) -> None:
        with pytest.raises(SliceUnknown) as refusal:
            await team.create(slices=wanted)
        assert refusal.value.status == 422
        assert refusal.value.extra["known"] == ["postgres", "valkey", "nats", "sqlite"]
        assert await team.all() == []

    async def test_a_backend_that_is_away_does_not_matter_to_who_does_not_use_it(
        self, team: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: Any, **__: Any) -> None:
            raise Unavailable("nats")

        backends = team.runtime.backends
        for verb in ("provision", "cut", "drop", "empty"):
            monkeypatch.setattr(backends.nats, verb, away)
            monkeypatch.setattr(backends.valkey, verb, away)
        monkeypatch.setattr(backends.valkey, "await_writable", away)
        sandbox = await team.new(slices=["sqlite", "postgres"])
        await team.runtime.sandboxes.reset(team.principal, sandbox.id)
        assert (await team.destroy(sandbox.id)).status == "destroyed"

    async def test_what_needs_a_postgres_says_so(self, team: Team) -> None:
        sandbox = await team.new(slices=["valkey"])
        with pytest.raises(SliceMissing):
            await team.runtime.sandboxes.stats(team.principal, sandbox.id)
        extended = await team.runtime.sandboxes.extend(team.principal, sandbox.id, "1h")
        assert extended.sandbox.expires_at > sandbox.expires_at

    async def test_a_key_stands_for_its_slices(self, team: Team) -> None:
        from valhalla.sandbox.errors import KeyReuse

        first = await team.create(key="k", slices=["sqlite"])
        assert (await team.create(key="k", slices=["sqlite"])).sandbox.id == first.sandbox.id
        with pytest.raises(KeyReuse):
            await team.create(key="k")

    async def test_a_restarted_valkey_gets_only_the_users_that_were_there(self, team: Team) -> None:
        """Whoever has no Valkey slice is given no user by the restoration either."""
        sandbox = await team.new(slices=["postgres"])
        team.runtime.reaper._valkey_run = None
        await team.runtime.reaper.restore_users()
        users = [item.sandbox_id for item in await team.runtime.backends.valkey.found()]
        assert sandbox.id not in users


class TestSqlite:
    async def test_reset(self, team: Team) -> None:
        created = await team.create(slices=["sqlite"], template="community")
        assert created.connection is not None
        path = created.connection["sqlite"]["path"]
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE badges")
        await team.runtime.sandboxes.reset(team.principal, created.sandbox.id)
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM badges").fetchone() == (0,)

    async def test_a_template_of_its_own(self, team: Team, write: Any) -> None:
        """The folder ``sqlite`` of a template speaks SQLite; what is beside it is for Postgres."""
        files = {"1.sql": "CREATE TABLE t (x bigint)", "sqlite/1.sql": "CREATE TABLE t (x); INSERT INTO t VALUES (7)"}
        name = write("both", files)
        created = await team.create(slices=["sqlite", "postgres"], template=name)
        assert created.connection is not None
        with sqlite3.connect(created.connection["sqlite"]["path"]) as connection:
            assert connection.execute("SELECT x FROM t").fetchall() == [(7,)]
        assert await rows_of(created.connection["postgres"]["url"], "SELECT * FROM t") == []

    async def test_a_template_without_sqlite_is_refused(self, team: Team, write: Any) -> None:
        name = write("pg-only", {"1.sql": "CREATE TABLE t (x bigint)"})
        with pytest.raises(TemplateUnknown, match="nothing for a SQLite slice"):
            await team.create(slices=["sqlite"], template=name)
        with pytest.raises(TemplateUnknown):
            await team.create(slices=["sqlite"], template="nothing")
        with pytest.raises(TemplateUnknown):
            await team.create(slices=["valkey"], template="nothing")
        assert await team.all() == []

    async def test_a_template_for_sqlite_alone(self, team: Team, write: Any) -> None:
        name = write("lite-only", {"sqlite/1.sql": "CREATE TABLE t (x)"})
        await team.new(slices=["sqlite"], template=name)
        with pytest.raises(Misconfigured):
            await team.create(template=name)

    async def test_a_template_that_fails_leaves_nothing(self, team: Team, write: Any, left: Left) -> None:
        name = write("lite-wrong", {"sqlite/1.sql": "CREATE TABLE", "1.sql": "SELECT 1"})
        with pytest.raises(TemplateFailed):
            await team.create(slices=["sqlite", "postgres"], template=name)
        (row,) = await team.all()
        assert row.status == "destroyed"
        assert await left(row.id) == []

    async def test_it_ends_with_its_time(self, team: Team, clock: MovableClock) -> None:
        created = await team.create(slices=["sqlite"], ttl="1h")
        assert created.connection is not None
        clock.ahead = timedelta(hours=2)
        assert created.sandbox.id in (await team.runtime.reaper.once()).destroyed
        assert not Path(created.connection["sqlite"]["path"]).exists()


OWN = 'isolation = "database"\n'


class TestDatabase:
    async def test_its_whole_life(self, team: Team, write: Any, left: Left, clock: MovableClock) -> None:
        """Made, filled, entered, extended, reset, destroyed: as at the schema level."""
        name = write(
            "own", {"template.toml": OWN, "1.sql": "CREATE TABLE t (x int)", "2.sql": "INSERT INTO t VALUES (1)"}
        )
        created = await team.create(template=name)
        sandbox = created.sandbox
        assert sandbox.names.isolation == "database"
        assert created.connection is not None
        await work_in(created.connection)
        url = created.connection["postgres"]["url"]
        assert await rows_of(url, "SELECT pg_try_advisory_lock(1), x FROM t") == [(True, 1)]
        (stats,) = [
            item for item in await team.runtime.sandboxes.stats(team.principal, sandbox.id) if item.table == "t"
        ]
        assert stats.rows == 1
        health = await team.runtime.sandboxes.health(team.principal, sandbox.id)
        assert health.health == "healthy"
        await team.runtime.sandboxes.reset(team.principal, sandbox.id)
        assert await rows_of(url, "SELECT count(*) FROM pg_class WHERE relname IN ('orders', 't')") == [(1,)]
        report = await team.runtime.reaper.once()
        assert report.orphans == []
        held = await asyncpg.connect(url)
        await team.destroy(sandbox.id)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await held.fetchval("SELECT 1")
        assert await left(sandbox.id) == []

    async def test_an_empty_one(self, team: Team, write: Any) -> None:
        created = await team.create(template=write("bare", {"template.toml": OWN}))
        assert created.connection is not None
        own = created.sandbox.names.database
        assert await rows_of(created.connection["postgres"]["url"], "SELECT current_database()::text") == [(own,)]

    async def test_by_a_command(self, team: Team, write: Any) -> None:
        text = OWN + 'command = ["sh", "-c", "test -n \\"$DATABASE_URL\\""]\n'
        assert (await team.new(template=write("own-command", {"template.toml": text}))).names.isolation == "database"

    async def test_a_template_that_fails_leaves_nothing(self, team: Team, write: Any, left: Left) -> None:
        name = write("own-wrong", {"template.toml": OWN, "1.sql": "SELECT nothing"})
        with pytest.raises(TemplateFailed):
            await team.create(template=name)
        (row,) = await team.all()
        assert await left(row.id) == []

    async def test_an_orphan_goes_after_the_grace(
        self, team: Team, write: Any, runtime: Runtime, clock: MovableClock
    ) -> None:
        """Database before role; only what the registry does not know."""
        from tests.sandbox.plane import set_row

        name = write("own-lost", {"template.toml": OWN})
        kept, lost = await team.new(template=name), await team.new(template=name)
        await set_row(runtime, lost.id, status="destroyed")
        await runtime.reaper.once()
        clock.ahead = timedelta(seconds=61)
        report = await runtime.reaper.once()
        gone = [(item["kind"], item["sandbox_id"]) for item in report.removed if item["slice"] == "postgres"]
        assert gone == [("database", lost.id), ("role", lost.id)]
        assert await runtime.backends.postgres.exists(kept.names)

    async def test_many_at_once(self, team: Team, write: Any) -> None:
        """Clones of one template wait for each other, and none fails."""
        name = write("own-many", {"template.toml": OWN})
        made = await asyncio.gather(*(team.new(template=name) for _ in range(4)))
        assert len({sandbox.names.database for sandbox in made}) == 4

    @pytest.mark.parametrize("text", ['isolation = "cell"', "isolation = 1", 'isolation = ["database"]'])
    async def test_another_level_is_a_mistake(self, team: Team, write: Any, text: str) -> None:
        with pytest.raises(Misconfigured, match="isolation"):
            await team.create(template=write("own-odd", {"template.toml": text}))
