"""What is kept of a job that failed: where it failed, without secrets, and never much."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tests.work.conftest import ended, working

from valhalla.kit.db import Database
from valhalla.work import Jobs, Retry, read, store, submit
from valhalla.work.values import failure

KEY = "-----BEGIN PRIVATE KEY-----\n" + "QUJDREVG" * 300 + "\n-----END PRIVATE KEY-----"


def broken(message: object = "no") -> None:
    raise ValueError(message)


def ping(depth: int) -> None:
    pong(depth)


def pong(depth: int) -> None:
    ping(depth + 1)


def raised(call: Any, *args: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        call(*args)
    return caught.value


def caused() -> None:
    try:
        broken("the first")
    except ValueError as error:
        raise RuntimeError("the second") from error


async def test_a_job_that_fails_keeps_its_traceback(db: Database) -> None:
    """The job has it; lists and events, of which there are many, do not."""
    jobs = Jobs()

    @jobs.job("breaks", retry=Retry(attempts=1))
    def breaks() -> None:
        hidden = "local-value"
        broken("cannot reach postgresql://me:hunter22@db/x" + hidden[:0])

    made = await db.run(submit, jobs, "breaks")
    async with working(db, jobs):
        job = await ended(db, made.id)
    assert job.error is not None
    trace = job.error["traceback"]
    assert trace.startswith("Traceback (most recent call last):")
    assert "in broken" in trace
    assert "in breaks" in trace
    assert "hunter22" not in trace
    [listed] = await db.read(store.find, limit=5)
    assert listed.error == {name: value for name, value in job.error.items() if name != "traceback"}
    told = sa.text("SELECT data->'error' FROM valhalla.events WHERE type = 'job.dead'")
    [error] = await db.run(lambda conn: list(conn.scalars(told)))
    assert error == listed.error


async def test_errors_from_before_there_were_tracebacks_are_read(db: Database) -> None:
    jobs = Jobs()
    jobs.job("old")(broken)
    made = [await db.run(submit, jobs, "old") for _ in range(3)]
    change = sa.text("UPDATE valhalla.jobs SET error = CAST(:error AS jsonb) WHERE id = :id")
    old = '{"code": "job-failed", "detail": "x"}'
    for one, error in zip(made, (old, "null", None), strict=True):
        values = {"id": one.id, "error": error}
        await db.run(lambda conn, values=values: conn.execute(change, values))
    found = {job.id: job.error for job in await db.read(store.find, limit=5)}
    assert [found[one.id] for one in made] == [{"code": "job-failed", "detail": "x"}, None, None]
    assert (await db.run(read, made[0].id)).error == {"code": "job-failed", "detail": "x"}


def test_causes_are_told() -> None:
    trace = failure(raised(caused))["traceback"]
    assert trace.index("the first") < trace.index("direct cause") < trace.index("the second")


@pytest.mark.parametrize("call", [pytest.param(ping, id="two"), pytest.param(lambda _: ping(0), id="lambda")])
def test_a_deep_recursion_stays_small(call: Any) -> None:
    trace = failure(raised(call, 0))["traceback"]
    assert len(trace) < 8100
    assert trace.startswith("…[cut]\n")
    assert "RecursionError" in trace
    assert "in ping" in trace


def test_a_long_message_leaves_room_for_where_it_was_raised() -> None:
    trace = failure(raised(broken, "x" * 5_000_000))["traceback"]
    assert len(trace) < 8100
    assert "in broken" in trace


def test_no_secret_is_in_it_whole_or_in_part() -> None:
    """Neither in the text nor in a note, and none whose beginning lies where the text is cut."""
    error = raised(broken, f"vh_{'a' * 40} {KEY}")
    error.add_note(KEY)
    trace = failure(error)["traceback"]
    assert "QUJDREVG" not in trace
    assert "aaaa" not in trace
    for length in range(0, 9000, 450):
        assert "QUJD" not in failure(raised(broken, f"{KEY}{'y' * length}"))["traceback"]


def test_what_cannot_be_stored_is_replaced() -> None:
    trace = failure(raised(broken, "a\0b\ud800c"))["traceback"]
    assert "a\ufffdb\ufffdc" in trace


def test_a_source_that_cannot_be_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object, **__: object) -> list[str]:
        raise KeyError("source")

    monkeypatch.setattr("valhalla.work.values.format_exception", unreadable)
    assert failure(raised(broken))["traceback"] == "the traceback cannot be written: KeyError"
