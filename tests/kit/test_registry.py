"""Registries: versions, history, rollback, and writes that never leave a gap."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kernel.problems import Conflict, Invalid, Misconfigured, NotFound, PreconditionFailed
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Delete, Put, Registry

_numbers = itertools.count()


class Flag(msgspec.Struct, frozen=True):
    """A record of the tests."""

    on: bool
    share: float = 1.0
    tags: tuple[str, ...] = ()
    note: str | None = None


def _no_bad_share(flag: Flag) -> None:
    if flag.share > 1:
        raise Invalid("a share is at most 1")


@pytest.fixture
def flags(ledger: Ledger) -> Registry[Flag]:
    return Registry(f"flags{next(_numbers)}", Flag, ledger, validate=_no_bad_share)


async def test_a_record_lives_through_its_versions(db: Database, flags: Registry[Flag]) -> None:
    """Create, read, replace, delete; each numbered."""
    assert await db.read(flags.revision) == 0
    change = await db.run(flags.put, "a", Flag(True), actor="ann", expect_version=0, reason="launch")
    assert (change.revision, change.op, change.before, change.reason) == (1, "put", None, "launch")
    record = await db.read(flags.get, "a")
    assert (record.value, record.version, record.etag) == (Flag(True), 1, '"1"')
    await db.run(flags.put, "a", Flag(False, tags=("x",)), actor="bob", expect_version=1)
    again = await db.read(flags.get, "a")
    assert (again.value, again.version) == (Flag(False, tags=("x",)), 2)
    assert again.created_at == record.created_at < again.updated_at
    await db.run(flags.delete, "a", actor="ann", expect_version=2)
    assert await db.read(flags.find, "a") is None
    with pytest.raises(NotFound):
        await db.read(flags.get, "a")
    history = (await db.read(flags.history, "a")).items
    assert [(c.revision, c.op, c.actor) for c in history] == [
        (3, "delete", "ann"),
        (2, "put", "bob"),
        (1, "put", "ann"),
    ]


async def test_a_version_is_never_used_twice(db: Database, flags: Registry[Flag]) -> None:
    """An old ETag does not fit a record that was deleted and made again."""
    await db.run(flags.put, "a", Flag(True), actor="x")
    await db.run(flags.delete, "a", actor="x")
    await db.run(flags.put, "a", Flag(True), actor="x")
    with pytest.raises(PreconditionFailed) as stale:
        await db.run(flags.put, "a", Flag(False), actor="x", expect_version=1)
    assert stale.value.extra["version"] == 3


async def test_the_same_body_changes_nothing(db: Database, flags: Registry[Flag]) -> None:
    """No revision, no history, no ledger entry."""
    await db.run(flags.put, "a", Flag(True, 0.5), actor="x")
    change = await db.run(flags.put, "a", Flag(True, 0.5), actor="x")
    assert (change.changed, await db.read(flags.revision)) == (False, 1)


async def test_refusals_write_nothing(db: Database, flags: Registry[Flag], ledger: Ledger) -> None:
    """Expected versions, rules, keys and types are checked first."""
    await db.run(flags.put, "a", Flag(True), actor="x")
    for problem, work in (
        (PreconditionFailed, lambda c: flags.put(c, "a", Flag(False), actor="x", expect_version=0)),
        (PreconditionFailed, lambda c: flags.put(c, "b", Flag(False), actor="x", expect_version=1)),
        (PreconditionFailed, lambda c: flags.delete(c, "a", actor="x", expect_version=9)),
        (NotFound, lambda c: flags.delete(c, "b", actor="x")),
        (Invalid, lambda c: flags.put(c, "b", Flag(True, 2.0), actor="x")),
        (Invalid, lambda c: flags.put(c, "", Flag(True), actor="x")),
        (Invalid, lambda c: flags.put(c, "a\x00", Flag(True), actor="x")),
        (Invalid, lambda c: flags.put(c, "b", Flag(True, note="a\x00b"), actor="x")),
        (Invalid, lambda c: flags.put(c, "b", Flag("yes"), actor="x")),  # pyright: ignore
    ):
        with pytest.raises(problem):
            await db.run(work)
    assert await db.read(flags.find, "a\x00") is None
    assert await db.read(flags.revision) == 1
    assert len((await db.read(ledger.page, kind=flags.name)).items) == 1


async def test_backslash_text_that_looks_like_a_nul_is_kept(db: Database, flags: Registry[Flag]) -> None:
    """Only a real NUL is refused."""
    await db.run(flags.put, "a", Flag(True, note="\\u0000"), actor="x")
    assert (await db.read(flags.get, "a")).value.note == "\\u0000"


async def test_bulk_is_all_or_nothing(db: Database, flags: Registry[Flag]) -> None:
    """A refusal of the last undoes the first, even if the caller goes on in the transaction."""

    def attempt(conn: sa.Connection) -> None:
        with pytest.raises(NotFound):
            flags.bulk(conn, [Put("a", Flag(True)), Put("b", Flag(True)), Delete("c")], actor="x")

    await db.run(attempt)
    assert await db.read(flags.revision) == 0
    changes = await db.run(
        flags.bulk, [Put("a", Flag(True)), Put("a", Flag(False)), Put("b", Flag(True)), Delete("b")], actor="x"
    )
    assert [c.revision for c in changes] == [1, 2, 3, 4]
    assert [(r.key, r.version) for r in (await db.read(flags.page)).items] == [("a", 2)]


async def test_a_dry_run_says_what_would_change(db: Database, flags: Registry[Flag], ledger: Ledger) -> None:
    """The same answers and refusals, and nothing is written."""
    change = await db.run(flags.put, "a", Flag(True), actor="x", dry_run=True)
    assert (change.dry_run, change.changed, change.after) == (
        True, True, {"on": True, "share": 1.0, "tags": [], "note": None},
    )  # fmt: skip
    with pytest.raises(PreconditionFailed):
        await db.run(flags.put, "a", Flag(True), actor="x", dry_run=True, expect_version=4)
    assert await db.read(flags.revision) == 0
    assert not (await db.read(ledger.page, kind=flags.name)).items


async def test_pages_and_filters(db: Database, flags: Registry[Flag]) -> None:
    """By key in byte order, with equality on members of the body."""
    ops = [Put(f"k{n:02}", Flag(n % 2 == 0, tags=("even",) if n % 2 == 0 else ())) for n in range(9)]
    await db.run(flags.bulk, ops, actor="x")
    seen: list[str] = []
    cursor = None
    while True:
        page = await db.read(flags.page, limit=2, cursor=cursor, where={"on": True})
        seen += [record.key for record in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == ["k00", "k02", "k04", "k06", "k08"]
    with pytest.raises(Invalid):
        await db.read(flags.page, cursor="nonsense!")


async def test_diff_and_rollback(db: Database, flags: Registry[Flag]) -> None:
    """Rollback restores changed, removes new and revives deleted records, as new revisions."""
    await db.run(flags.bulk, [Put("kept", Flag(True)), Put("gone", Flag(True)), Put("edited", Flag(True))], actor="x")
    await db.run(flags.bulk, [Delete("gone"), Put("edited", Flag(False)), Put("new", Flag(True))], actor="x")
    assert [(d.key, d.before is None, d.after is None) for d in await db.read(flags.diff, 3, 6)] == [
        ("edited", False, False), ("gone", False, True), ("new", True, False),
    ]  # fmt: skip
    planned = await db.run(flags.rollback, 3, actor="ann", dry_run=True)
    done = await db.run(flags.rollback, 3, actor="ann")
    assert [(c.op, c.key) for c in planned] == [(c.op, c.key) for c in done]
    assert [(c.revision, c.op, c.key) for c in done] == [(7, "put", "edited"), (8, "put", "gone"), (9, "delete", "new")]
    assert {r.key for r in (await db.read(flags.page)).items} == {"kept", "gone", "edited"}
    assert await db.read(flags.diff, 3, 9) == []
    assert await db.run(flags.rollback, 3, actor="ann") == []
    for wrong in (-1, 99):
        with pytest.raises(NotFound):
            await db.run(flags.rollback, wrong, actor="ann")


async def test_rollback_past_the_kept_history_is_refused(db: Database, flags: Registry[Flag]) -> None:
    """What is not known is not guessed."""
    for n in range(5):
        await db.run(flags.put, "a", Flag(True, n / 10), actor="x")
    prune = sa.text("DELETE FROM valhalla.registry_changes WHERE registry = :name AND revision <= 3")
    await db.run(lambda c: c.execute(prune, {"name": flags.name}))
    with pytest.raises(Conflict):
        await db.run(flags.rollback, 2, actor="x")
    assert len(await db.run(flags.rollback, 3, actor="x")) == 1


async def test_a_record_that_no_longer_fits_is_named(db: Database, flags: Registry[Flag], ledger: Ledger) -> None:
    """Not a stack trace of the decoder."""

    class Other(msgspec.Struct, frozen=True):
        needed: int

    await db.run(flags.put, "a", Flag(True), actor="x")
    with pytest.raises(Misconfigured, match="'a' does not fit"):
        await db.read(Registry(flags.name, Other, ledger).get, "a")


async def test_concurrent_puts_leave_no_gap(db: Database, flags: Registry[Flag]) -> None:
    """Fifty at once on a registry that does not exist yet: revisions 1 to 50, in commit order."""
    await asyncio.gather(*(db.run(flags.put, f"k{n % 7}", Flag(True, n / 100), actor=str(n)) for n in range(50)))
    assert await db.read(flags.revision) == 50
    changes = await db.read(flags.since, 0)
    assert [c.revision for c in changes] == list(range(1, 51))


async def test_one_of_many_conditional_puts_wins(db: Database, flags: Registry[Flag]) -> None:
    """Optimistic concurrency under a real race."""
    results = await asyncio.gather(
        *(db.run(flags.put, "a", Flag(True, n / 100), actor="x", expect_version=0) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(not isinstance(r, BaseException) for r in results) == 1
    assert all(isinstance(r, PreconditionFailed) for r in results if isinstance(r, BaseException))


ops = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.builds(Flag, st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(edits=ops, data=st.data())
def test_any_history_can_be_rolled_back_to_any_revision(
    database_url: str, ledger: Ledger, edits: list[tuple[str, Flag | None]], data: st.DataObject
) -> None:
    """The records after a rollback are those of then, whatever happened in between."""
    from valhalla.kit.json import dumps_text, loads

    flags: Registry[Flag] = Registry("model", Flag, ledger)
    engine = sa.create_engine(
        database_url.replace("postgresql:", "postgresql+psycopg:"),
        poolclass=sa.NullPool, json_serializer=dumps_text, json_deserializer=loads,
    )  # fmt: skip
    state: dict[str, Any] = {}
    then: list[dict[str, Any]] = [{}]
    with engine.connect() as conn:
        for key, value in edits:
            if value is None and key not in state:
                with pytest.raises(NotFound):
                    flags.delete(conn, key, actor="m")
                continue
            if value is not None:
                changed = flags.put(conn, key, value, actor="m").changed
                assert changed == (state.get(key) != value)
                state[key] = value
            else:
                changed = flags.delete(conn, key, actor="m").changed
                del state[key]
            if changed:
                then.append(dict(state))
        target = data.draw(st.integers(0, len(then) - 1))
        flags.rollback(conn, target, actor="m")
        assert {r.key: r.value for r in flags.page(conn).items} == then[target]
        revision, records = flags.load(conn)
        assert {r.key: r.value for r in records} == then[target]
        assert revision == flags.revision(conn)
        conn.rollback()
