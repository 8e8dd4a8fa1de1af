"""A user's own templates: they fill the schema with the sandbox's rights, and one that fails leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.conftest import Servers
from tests.sandbox.conftest import Left
from tests.sandbox.plane import Team, opened, spec_for

from valhalla.kernel.problems import Misconfigured
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import CreateFailed, TemplateFailed
from valhalla.sandbox.service import SandboxService

Write = Callable[..., str]


@pytest.fixture
def template(folder: Path) -> Iterator[Write]:
    """Write a template of the given files (name → text) and return its name."""
    made: list[Path] = []

    def write(**files: str) -> str:
        path = folder / "templates" / f"own-{len(made)}"
        path.mkdir()
        made.append(path)
        for name, text in files.items():
            file = path / name.replace("_", ".", 1)
            file.write_text(text)
        return path.name

    yield write
    for path in made:
        shutil.rmtree(path)


def command(*argv: str, **more: object) -> str:
    """Return a manifest."""
    lines = [f"command = {json.dumps(list(argv))}", *(f"{key} = {json.dumps(value)}" for key, value in more.items())]
    return "\n".join(lines)


async def failed(team: Team, left: Left, name: str) -> TemplateFailed:
    """Create with a template that fails; nothing may be left anywhere. Returns the problem."""
    with pytest.raises(TemplateFailed) as refusal:
        await team.create(template=name)
    assert refusal.value.extra["template"] == name
    (row,) = await team.all()
    assert row.status == "destroyed"
    assert await left(row.id) == []
    assert await team.actions(row.id) == ["created", "failed", "destroyed"]
    assert await team.live() == []
    return refusal.value


async def test_sql_files_run_in_order_as_the_sandbox(team: Team, template: Write) -> None:
    name = template(
        b_sql="INSERT INTO t VALUES (current_user), ('it''s'); INSERT INTO t SELECT current_schema()",
        a_sql="CREATE TABLE t (who text)",
        c_txt="this is no SQL",
    )
    created = await team.create(template=name)
    assert created.connection is not None
    async with opened(created.connection) as session:
        rows = {row[0] for row in await session.sql.fetch("SELECT who FROM t")}
        assert await session.sql.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 't'") is not None
    assert rows == {created.sandbox.names.role, "it's", created.sandbox.names.schema}


async def test_a_second_file_that_fails_is_named(team: Team, template: Write, left: Left) -> None:
    name = template(a_sql="CREATE TABLE t (id int)", b_sql="CREATE TABLE u (id int); SELECT * FROM missing")
    problem = await failed(team, left, name)
    assert problem.extra["file"] == "b.sql"
    assert "missing" in problem.detail


@pytest.mark.parametrize(
    "statement",
    ["CREATE SCHEMA x", "CREATE TABLE public.x (id int)", "CREATE ROLE x", "SELECT * FROM pg_authid", "\x00"],
)
async def test_a_file_has_the_sandboxes_rights_only(team: Team, template: Write, left: Left, statement: str) -> None:
    problem = await failed(team, left, template(a_sql=statement))
    assert problem.extra["file"] == "a.sql"


async def test_a_file_that_is_no_text(team: Team, template: Write, left: Left, folder: Path) -> None:
    name = template(a_sql="")
    (folder / "templates" / name / "a.sql").write_bytes(b"\xff\xfe")
    assert (await failed(team, left, name)).extra["file"] == "a.sql"


async def test_a_stop_does_not_wait_for_files_that_hang(
    team: Team, template: Write, left: Left, runtime: Runtime, servers: Servers
) -> None:
    """The creation is called off, its caller is told, and nothing is left."""
    name = template(a_sql="SET statement_timeout = 0; SELECT pg_sleep(60)")
    service = SandboxService(
        runtime.db, runtime.backends, runtime.ledger, runtime.cell, templates=runtime.sandboxes.templates
    )
    spec = spec_for(team.owner, runtime, template=name)
    creating = asyncio.create_task(service.create(team.principal, spec))
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'"
    # what a sandbox runs is shown to nobody else
    admin = await asyncpg.connect(servers.superuser_url)
    while not await admin.fetch(sleeping):
        await asyncio.sleep(0.01)
    await admin.close()
    await service.close(patience=0.01)
    with pytest.raises(CreateFailed, match="was stopped"):
        await creating
    (ended,) = await team.all()
    assert ended.status == "destroyed"
    assert await left(ended.id) == []


async def test_files_that_hang_are_ended(
    team: Team, template: Write, left: Left, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when they lift the statement timeout, which a sandbox may."""
    name = template(a_sql="SET statement_timeout = 0; SELECT pg_sleep(60)")
    whole = runtime.sandboxes.templates.get

    def hurried(wanted: str) -> object:
        from dataclasses import replace
        from datetime import timedelta

        return replace(whole(wanted), timeout=timedelta(seconds=0.3))  # type: ignore[type-var]

    monkeypatch.setattr(runtime.sandboxes.templates, "get", hurried)
    begun = time.monotonic()
    problem = await failed(team, left, name)
    assert "longer than 0.3 s" in problem.detail
    assert time.monotonic() - begun < 5


async def test_a_command_gets_the_sandboxes_environment_and_no_more(
    team: Team, template: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can use all three backends; what is secret in the control plane's environment does not reach it."""
    monkeypatch.setenv("VALHALLA_CELL_KEY_TEST", "do not pass on")
    script = """
import asyncio, json, os, asyncpg
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("CREATE TABLE env (doc jsonb)")
    document = {**os.environ, "creds": open(os.environ["NATS_CREDS"]).read()[:10], "cwd": os.getcwd(),
                "mode": oct(os.stat(os.environ["NATS_CREDS"]).st_mode)}
    await connection.execute("INSERT INTO env VALUES ($1)", json.dumps(document))
asyncio.run(main())
"""
    created = await team.create(template=template(template_toml=command(sys.executable, "-c", script)))
    assert created.connection is not None
    async with opened(created.connection) as session:
        seen = json.loads(await session.sql.fetchval("SELECT doc FROM env"))
    env = created.connection["env"]
    assert {key: seen[key] for key in env} == dict(env)
    assert seen["creds"] == "-----BEGIN"
    assert seen["mode"] == "0o100600"
    assert not os.path.exists(seen["NATS_CREDS"])  # noqa: PTH110
    assert Path(seen["cwd"]).name.startswith("own-")
    assert not [key for key in seen if key.startswith("VALHALLA")]


async def test_a_command_that_fails_says_its_status_and_words(team: Team, template: Write, left: Left) -> None:
    script = "import sys, os; print('boom', os.environ['DATABASE_URL']); sys.exit(3)"
    problem = await failed(team, left, template(template_toml=command(sys.executable, "-c", script)))
    assert "exited with 3" in problem.detail
    assert "boom" in problem.extra["output"]
    password = team.runtime.backends.postgres.password((await team.all())[0].names)
    assert password not in str(problem.document())


async def test_a_command_that_does_not_exist(team: Team, template: Write, left: Left) -> None:
    problem = await failed(team, left, template(template_toml=command("/no/such/program")))
    assert "/no/such/program" in problem.detail


async def test_a_command_that_hangs_is_killed_with_its_children(
    team: Team, template: Write, left: Left, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    script = f"import subprocess; p = subprocess.Popen(['sleep', '60']); open({str(note)!r}, 'w').write(str(p.pid))"
    script += "; print('x' * 300_000, flush=True); p.wait()"
    name = template(template_toml=command(sys.executable, "-c", script, timeout_seconds=1.0))
    begun = time.monotonic()
    problem = await failed(team, left, name)
    assert "longer than 1 s" in problem.detail
    assert time.monotonic() - begun < 6
    pid = int(note.read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text():  # noqa: PTH110
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the command's child still runs")


async def test_a_long_command_keeps_the_reaper_away(team: Team, template: Write, runtime: Runtime) -> None:
    """A creation that works for longer than its lease is not taken for a dead one."""
    name = template(template_toml=command(sys.executable, "-c", "import time; time.sleep(1.6)"))
    making = asyncio.create_task(team.create(template=name))
    while not making.done():
        await asyncio.sleep(0.2)
        assert (await runtime.reaper.once()).resumed == []
    assert (await making).sandbox.status == "running"


ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{here}", {before}
def upgrade():
    op.create_table("{table}", sa.Column("id", sa.Integer, primary_key=True))
"""


async def test_alembic_upgrade_head(team: Team, template: Write, folder: Path, runtime: Runtime) -> None:
    """A project's real migrations as a template."""
    name = template(
        alembic_ini="[alembic]\nscript_location = migrations\npath_separator = os\n",
        template_toml=command(sys.executable, "-m", "alembic", "upgrade", "head"),
    )
    migrations = folder / "templates" / name / "migrations"
    (migrations / "versions").mkdir(parents=True)
    (migrations / "env.py").write_text(ENV_PY)
    (migrations / "versions" / "1.py").write_text(REVISION.format(here="1", before=None, table="users"))
    (migrations / "versions" / "2.py").write_text(REVISION.format(here="2", before="'1'", table="orders"))
    sandbox = await team.new(template=name)
    stats = await runtime.sandboxes.stats(team.principal, sandbox.id)
    assert {item.table: item.rows for item in stats} == {"alembic_version": 1, "orders": 0, "users": 0}


@pytest.mark.parametrize(
    "manifest",
    ["command = 'alembic upgrade head'", "command = []", "command = [1]", "command = ['x']\nshell = true", "= nonsense",
     "command = ['x']\ntimeout_seconds = 1e9"],
)  # fmt: skip
async def test_a_wrong_manifest_is_told_before_anything_is_made(team: Team, template: Write, manifest: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        await team.create(template=template(template_toml=manifest))
    assert "template.toml" in refusal.value.detail
    assert await team.all() == []


async def test_an_own_template_may_replace_a_built_in_one(team: Team, runtime: Runtime, folder: Path) -> None:
    path = folder / "templates" / "community"
    path.mkdir()
    (path / "1.sql").write_text("CREATE TABLE mine (id int)")
    try:
        sandbox = await team.new(template="community")
    finally:
        shutil.rmtree(path)
    stats = await runtime.sandboxes.stats(team.principal, sandbox.id)
    assert [item.table for item in stats] == ["mine"]
