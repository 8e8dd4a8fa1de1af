"""What becomes of a job: the pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel.ids import is_id
from valhalla.work import Job, Retry
from valhalla.work.ids import job_ids
from valhalla.work.rules import Tides, after_failure, before_start, retry_pause

JOB = Job(
    id="a", name="n", queue="q", status="running", args={}, priority=0, dedup_key=None, correlation_id=None,
    timeout=None, attempts=0, crashes=0, generation=3, progress=None, result=None, error=None, effect=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), run_at=datetime(2026, 1, 1, tzinfo=UTC), started_at=None,
    finished_at=None, cancel_requested_at=None,
)  # fmt: skip


def job(**values: Any) -> Job:
    return msgspec.structs.replace(JOB, **values)


@given(attempt=st.integers(1, 10_000), spread=st.floats(0, 1, exclude_max=True))
def test_pauses_double_to_their_cap_and_are_spread(attempt: int, spread: float) -> None:
    """Never over the cap, never under half of what is due, for any number of attempts."""
    retry = Retry(base=0.5, cap=60)
    due = min(60, 0.5 * 2 ** min(attempt - 1, 100))
    assert due / 2 <= retry_pause(retry, attempt, spread) <= due


@given(attempts=st.integers(1, 20), before=st.integers(0, 30), final=st.booleans())
def test_a_failure_is_repeated_until_the_attempts_are_used_up(attempts: int, before: int, final: bool) -> None:
    """The last one is death, with the fence of the attempt that failed."""
    ended = after_failure(job(attempts=before), Retry(attempts=attempts), {"code": "x"}, 0.5, final=final)
    again = not final and before + 1 < attempts
    assert (ended.status, ended.failed, ended.generation) == ("queued" if again else "dead", True, 3)


def test_what_was_taken_over_is_looked_at_before_it_runs() -> None:
    """Poison is dead, unknown names are held, and what was cancelled meanwhile does not run once more."""
    retry = Retry(crashes=4)
    assert before_start(job(crashes=3), retry) is None
    poison = before_start(job(crashes=4), retry)
    assert poison is not None
    assert (poison.status, poison.effect) == ("dead", "unknown")
    held = before_start(job(crashes=9), None)
    assert held is not None
    assert held.status == "held"
    cancelled = before_start(job(cancel_requested_at=datetime(2026, 1, 1, tzinfo=UTC)), None)
    assert cancelled is not None
    assert (cancelled.status, cancelled.effect) == ("cancelled", "unknown")


def test_a_clock_that_leaps_makes_nobody_dead() -> None:
    """After the beginning and after a leap forward, silence says nothing until everybody could speak."""
    tides = Tides(1.0)
    assert not tides.look(1000.0, 0.0, most=1.5)
    assert not tides.look(1000.9, 0.9, most=1.5)
    assert tides.look(1002.0, 2.0, most=1.5)
    assert not tides.look(4603.0, 3.0, most=1.5)
    assert not tides.look(4603.9, 3.9, most=1.5)
    assert tides.look(4605.0, 5.0, most=1.5)
    # backward: everybody's last word lies in the future, and nobody looks silent
    assert tides.look(1006.0, 6.0, most=1.5)


def test_ids_of_jobs_are_in_the_order_of_time() -> None:
    """Also within a batch, and they have the form of every id."""
    first, second = job_ids(500), job_ids(3)
    assert first == sorted(first)
    assert len({*first, *second}) == 503
    assert all(is_id(key) for key in (*first, *second))
    assert first[0][:8] <= second[0][:8]
