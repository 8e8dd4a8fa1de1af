"""Who may take, use and remove a snapshot, and what none can carry."""

from __future__ import annotations

import pytest
from tests.sandbox.plane import ADMINISTRATOR, Team
from tests.sandbox.snapshots.taking import made, run, take

from valhalla.kernel.problems import Invalid
from valhalla.runtime import Runtime
from valhalla.sandbox.errors import (
    NotRunning,
    SandboxNotFound,
    SliceMissing,
    SnapshotFailed,
    SnapshotNotFound,
    SnapshotTooLarge,
    SnapshotUnsupported,
    TemplateTaken,
    TemplateUnknown,
)


class TestRefusals:
    @pytest.mark.parametrize(
        ("sql", "what"),
        [
            ("CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)", "aggregate total(integer)"),
            ("CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)", "operator ===(integer,integer)"),
            ("CREATE TABLE a (x int); CREATE TABLE b () INHERITS (a)", "inheritance of table b"),
            ("CREATE TYPE c AS (x int); CREATE TABLE a OF c", "typed table a"),
            ("CREATE COLLATION mine FROM \"C\"", "collation mine"),
            ("CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple)", "text search configuration mine"),
            ("CREATE TYPE c AS (x int); CREATE CAST (c AS text) WITH INOUT", "cast of c"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_carried_is_named(self, team: Team, sql: str, what: str) -> None:
        sandbox, _ = await made(team, sql)
        with pytest.raises(SnapshotUnsupported) as refusal:
            await take(team, sandbox, "nope")
        assert what in refusal.value.extra["objects"]
        with pytest.raises(TemplateUnknown):
            await team.create(template="nope")

    async def test_too_much(self, team: Team, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        """In all rows, in one row that is small on disk, in one definition; nothing is left of the attempt."""
        many = "INSERT INTO t SELECT repeat('x', 20000) FROM generate_series(1, 60)"
        sandbox, url = await made(team, f"CREATE TABLE t (x text); {many}")
        monkeypatch.setattr(runtime.snapshots, "_most", 1_000_000)
        with pytest.raises(SnapshotTooLarge, match="more than the snapshot may hold"):
            await take(team, sandbox, "large")
        await run(url, "TRUNCATE t; INSERT INTO t VALUES (repeat('x', 17000000))")
        with pytest.raises(SnapshotTooLarge, match="a row of table t"):
            await take(team, sandbox, "large")
        monkeypatch.setattr("valhalla.sandbox.snapshots.definitions.MOST_TEXT", 10_000)
        await run(url, f"TRUNCATE t; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT $x${'y' * 20000}$x$'")
        with pytest.raises(SnapshotTooLarge, match="definitions"):
            await take(team, sandbox, "large")
        snapshots = runtime.sandboxes.templates.snapshots
        assert snapshots is not None
        assert list(snapshots.directory.iterdir()) == []

    async def test_names(self, team: Team, stranger: Team) -> None:
        """Neither a built-in template nor an operator's, nor another's snapshot; one's own only on purpose."""
        sandbox, other = await team.new(), await stranger.new()
        for name in ("community", "empty"):
            with pytest.raises(TemplateTaken):
                await take(team, sandbox.id, name, replace=True)
        for name in ("../x", "A", "", "x" * 64, "x.json"):
            with pytest.raises(Invalid):
                await take(team, sandbox.id, name)
        first = await take(team, sandbox.id, "mine")
        with pytest.raises(TemplateTaken):
            await take(team, sandbox.id, "mine")
        with pytest.raises(TemplateTaken):
            await take(stranger, other.id, "mine", replace=True)
        second = await take(team, sandbox.id, "mine", replace=True)
        assert second.version != first.version
        admin = Team(team.runtime, ADMINISTRATOR)
        assert (await take(admin, sandbox.id, "mine", replace=True)).owner == team.owner

    async def test_whose_sandbox(self, team: Team, stranger: Team) -> None:
        sandbox = await team.new()
        with pytest.raises(SandboxNotFound):
            await take(stranger, sandbox.id, "stolen")
        light = await team.new(slices=["valkey"])
        with pytest.raises(SliceMissing):
            await take(team, light.id, "light")
        await team.destroy(sandbox.id)
        with pytest.raises(NotRunning):
            await take(team, sandbox.id, "late")

    async def test_remove(self, team: Team, stranger: Team) -> None:
        sandbox = await team.new()
        await take(team, sandbox.id, "gone")
        remove = team.runtime.snapshots.remove
        for principal, name in ((stranger.principal, "gone"), (team.principal, "community"), (team.principal, "../x")):
            with pytest.raises(SnapshotNotFound):
                await remove(principal, name)
        await remove(team.principal, "gone")
        with pytest.raises(TemplateUnknown):
            await team.create(template="gone")

    async def test_a_locked_table_and_a_changed_password(self, team: Team) -> None:
        """The sandbox can keep itself from being copied, and says so."""
        sandbox, url = await made(team, "CREATE TABLE t (x int)")
        role = f"sbx_{sandbox}"
        await run(url, f"ALTER ROLE {role} PASSWORD 'other'")
        with pytest.raises(SnapshotFailed):
            await take(team, sandbox, "locked")
