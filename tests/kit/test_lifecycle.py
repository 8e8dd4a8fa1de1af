"""A step of a lifecycle in the database: guarded, raced, recorded."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valhalla.kernel.lifecycle import Lifecycle
from valhalla.kernel.problems import Conflict, IllegalTransition, NotFound
from valhalla.kit.db import Database
from valhalla.kit.ledger import Ledger
from valhalla.kit.lifecycle import take

MACHINE = Lifecycle(
    "lamp",
    "off",
    {
        "off": frozenset({"on", "broken"}),
        "on": frozenset({"off", "broken"}),
        "broken": frozenset({"repaired"}),
        "repaired": frozenset(),
    },
)
LAMPS = sa.Table(
    "lamps",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
)


@pytest.fixture(scope="module", autouse=True)
async def lamps(db: Database) -> None:
    await db.run(LAMPS.create)


async def _lamp(db: Database, key: str, status: str = "off") -> None:
    await db.run(lambda conn: conn.execute(sa.insert(LAMPS), {"id": key, "status": status, "owner": "ann"}))


async def _entries(db: Database, ledger: Ledger, key: str) -> list[tuple[str, str]]:
    page = await db.read(ledger.page, kind="lamp", subject=key, limit=200)
    return [(entry.details["from"], entry.details["to"]) for entry in reversed(page.items)]


async def test_a_step_returns_the_row_and_writes_the_ledger(db: Database, ledger: Ledger) -> None:
    """The row is as it is now, the entry says from where to where, in one transaction."""
    await _lamp(db, "a")
    row = await db.run(
        take, MACHINE, LAMPS, key="a", to="on", ledger=ledger, actor="ann",
        values={"turns": LAMPS.c.turns + 1}, details={"why": "dark"},
    )  # fmt: skip
    assert (row["status"], row["turns"], row["from_status"]) == ("on", 1, "off")
    page = await db.read(ledger.page, kind="lamp", subject="a")
    assert [(e.actor, e.action, dict(e.details)) for e in page.items] == [
        ("ann", "status_changed", {"from": "off", "to": "on", "why": "dark"})
    ]


async def test_refusals_say_why(db: Database, ledger: Ledger) -> None:
    """Missing, illegal and refused are three different answers, and none writes anything."""
    await _lamp(db, "b")
    with pytest.raises(NotFound):
        await db.run(take, MACHINE, LAMPS, key="nobody", to="on", ledger=ledger, actor="ann")
    with pytest.raises(IllegalTransition) as illegal:
        await db.run(take, MACHINE, LAMPS, key="b", to="repaired", ledger=ledger, actor="ann")
    assert illegal.value.extra["legal"] == ["broken", "on"]
    with pytest.raises(Conflict) as refused:
        await db.run(take, MACHINE, LAMPS, key="b", to="on", ledger=ledger, actor="x", where=LAMPS.c.owner == "bob")
    assert type(refused.value) is Conflict
    with pytest.raises(Conflict):
        await db.run(take, MACHINE, LAMPS, key="b", to="broken", ledger=ledger, actor="x", sources=["on"])
    assert await _entries(db, ledger, "b") == []


async def test_a_rolled_back_step_leaves_no_entry(db: Database, ledger: Ledger) -> None:
    """Entry and row stand or fall together."""
    await _lamp(db, "c")

    def broken(conn: sa.Connection) -> None:
        take(conn, MACHINE, LAMPS, key="c", to="on", ledger=ledger, actor="ann")
        raise RuntimeError("after")

    with pytest.raises(RuntimeError, match="after"):
        await db.run(broken)
    assert await _entries(db, ledger, "c") == []


async def test_one_of_many_racing_callers_wins(db: Database, ledger: Ledger) -> None:
    """Twenty at once: one step, one entry, nineteen refusals."""
    for turn in range(5):
        key = f"race{turn}"
        await _lamp(db, key)
        results = await asyncio.gather(
            *(
                db.run(take, MACHINE, LAMPS, key=key, to="on", ledger=ledger, actor=str(n), sources=["off"])
                for n in range(16)
            ),
            return_exceptions=True,
        )
        won = [r for r in results if not isinstance(r, BaseException)]
        assert len(won) == 1
        assert all(isinstance(r, Conflict) for r in results if isinstance(r, BaseException))
        assert await _entries(db, ledger, key) == [("off", "on")]


async def test_racing_different_steps_make_a_legal_history(db: Database, ledger: Ledger) -> None:
    """Whatever interleaves, every entry starts where the one before it ended."""
    await _lamp(db, "flicker")
    await asyncio.gather(
        *(
            db.run(take, MACHINE, LAMPS, key="flicker", to=to, ledger=ledger, actor=str(n))
            for n in range(20)
            for to in ("on", "off", "broken")
        ),
        return_exceptions=True,
    )
    history = await _entries(db, ledger, "flicker")
    assert history[0][0] == "off"
    assert history[-1][1] == "broken"
    assert all(before[1] == after[0] for before, after in itertools.pairwise(history))


def test_a_wait_for_another_step_reads_the_state_anew(database_url: str, ledger: Ledger) -> None:
    """A caller that waited for a lock records the state it really started from."""
    import threading

    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as conn:
        conn.execute(sa.insert(LAMPS), {"id": "wait", "status": "off"})
    first = engine.connect()
    take(first, MACHINE, LAMPS, key="wait", to="on", ledger=ledger, actor="first")
    outcome: list[object] = []

    def second() -> None:
        with engine.begin() as conn:
            outcome.append(take(conn, MACHINE, LAMPS, key="wait", to="broken", ledger=ledger, actor="second"))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    first.commit()
    thread.join(10)
    first.close()
    engine.dispose()
    assert outcome[0]["from_status"] == "on"  # pyright: ignore


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(sorted(MACHINE.states)), max_size=12))
def test_the_row_follows_the_declared_machine(database_url: str, ledger: Ledger, steps: list[str]) -> None:
    """For any sequence of requests the table and the pure machine agree."""
    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as conn:
        conn.execute(sa.insert(LAMPS), {"id": "model", "status": "off"})
        current = "off"
        for step in steps:
            try:
                MACHINE.check(current, step)
            except IllegalTransition:
                with pytest.raises(IllegalTransition):
                    take(conn, MACHINE, LAMPS, key="model", to=step, ledger=ledger, actor="m")
            else:
                row = take(conn, MACHINE, LAMPS, key="model", to=step, ledger=ledger, actor="m")
                assert (row["from_status"], row["status"]) == (current, step)
                current = step
        conn.rollback()
