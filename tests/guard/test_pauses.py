"""Between attempts: how long, how many of all calls, and who ends a pause."""

from __future__ import annotations

import asyncio
import email.utils
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tenacity import wait_fixed
from tests.guard.faces import Face
from tests.guard.failing import QUICK, failing

from valhalla.guard import Breaker, BreakerOpen, Guard, Indeterminate, NotDone, Retry
from valhalla.guard.retry import Budget, retry_after


def test_pauses_are_drawn_from_the_whole_range_below_the_cap() -> None:
    random.seed(7)
    retry = Retry(9, base=1, cap=10)
    for attempt, bound in ((1, 1), (2, 2), (4, 8), (5, 10), (9, 10), (60, 10)):
        pauses = [retry.pause(attempt, ValueError()) or 0.0 for _ in range(400)]
        assert max(pauses) <= bound
        assert min(pauses) < bound * 0.1 < bound * 0.9 < max(pauses)


def test_what_the_other_side_asks_for_is_honoured() -> None:
    class Response:
        headers = {"Retry-After": "7"}

    class Refused(Exception):  # noqa: N818 - a provider's word
        response = Response()

    assert retry_after(Refused()) == 7
    assert Retry(1, base=0.001, cap=0.002).pause(1, Refused()) == 7
    assert retry_after(NotDone(retry_after=3)) == 3
    for nonsense in ("soon", "-1", None, "nan"):
        error = Refused()
        error.response = type("R", (), {"headers": {"Retry-After": nonsense}})()
        assert retry_after(error) is None


def test_a_date_is_waited_for_and_a_day_is_not(face: Face) -> None:
    def refused(header: str) -> BaseException:
        error = NotDone()
        error.response = type("R", (), {"headers": {"Retry-After": header}})()  # type: ignore[attr-defined]
        return error

    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < (retry_after(refused(soon)) or 0) <= 20
    assert retry_after(refused("Sun, 06 Nov 1994 08:49:37 GMT")) == 0
    assert retry_after(refused("Sun, 06 Nov 1994")) is None
    assert (retry_after(refused("86400")), Retry(1).pause(1, refused("86400"))) == (86_400, None)
    assert Retry(1, longest=100_000).pause(1, refused("86400")) == 86_400

    def act() -> None:
        face.ran.append(1)
        raise refused("86400")

    with pytest.raises(NotDone):
        face.call(face.action("act", act, retries=3))
    assert face.ran == [1]


def test_a_budget_lets_a_tenth_be_tried_again() -> None:
    budget = Budget(0.1, reserve=5)
    assert sum(budget.spend() for _ in range(100)) == 5
    budget.firsts += 30
    assert sum(budget.spend() for _ in range(100)) == 3
    budget.firsts += 1_000_000
    assert sum(budget.spend() for _ in range(100)) == 5, "what is saved up is bounded"


def test_a_storm_is_not_multiplied(face: Face) -> None:
    act = face.action("act", failing(face, *[TimeoutError] * 10_000), effect="idempotent", retries=QUICK)
    for _ in range(60):
        with pytest.raises(TimeoutError):
            face.call(act)
    assert len(face.ran) <= 60 + 10 + 6


def test_a_pause_ends_when_the_guard_is_closed() -> None:
    guard = Guard()
    failed = threading.Event()

    @guard.action("act", effect="none", retries=Retry(1, wait=lambda state: 60.0))
    def act() -> None:
        failed.set()
        raise NotDone

    thread = threading.Thread(target=act.outcome)
    thread.start()
    failed.wait(10)
    guard.close()
    thread.join(20)
    assert not thread.is_alive()


def test_an_open_breaker_runs_nothing_and_lets_one_try_after_a_while(face: Face) -> None:
    now = [0.0]
    breaker = Breaker(2, 30, clock=lambda: now[0])
    act = face.action("act", failing(face, *[BrokenPipeError] * 3), key="k", breaker=breaker, effect="idempotent")
    for key in "12":
        with pytest.raises(BrokenPipeError):
            face.call(act, key)
    with pytest.raises(BreakerOpen) as refused:
        face.call(act, "3")
    assert (refused.value.retry_after, len(face.ran)) == (30, 2)
    now[0] = 31
    with pytest.raises(BrokenPipeError):
        face.call(act, "3")
    with pytest.raises(BreakerOpen):
        face.call(act, "3")
    now[0] = 62
    assert [face.call(act, "3"), face.call(act, "4")] == ["done", "done"]


def test_retrying_never_imports_tenacity_while_calls_succeed() -> None:
    code = (
        "import sys; from valhalla.guard import Guard; guard = Guard()\n"
        "act = guard.action('act', effect='none', retries=3)(lambda: 1)\n"
        "assert act() == 1 and 'tenacity' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Interrupted:
    """A pause that a Ctrl-C ends."""

    def wait(self, seconds: float) -> bool:
        raise KeyboardInterrupt


def interrupt(face: Face, act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call ``act`` and end it in the first pause between two attempts."""
    if not face.is_async:
        with monkeypatch.context() as patch:
            patch.setattr(face.guard, "stop", Interrupted())
            with pytest.raises(KeyboardInterrupt):
                act("1")
        return

    async def cancelled() -> None:
        task = asyncio.create_task(act("1"))
        while not face.ran:
            await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


SLOW = Retry(3, wait=wait_fixed(60))


def test_who_interrupts_a_pause_leaves_the_key_free(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    act = face.action("act", failing(face, NotDone), key="k", retries=SLOW)
    interrupt(face, act, monkeypatch)
    assert [record.state for record in face.guard.waiting(kind="all")] == ["not_done"]
    assert face.outcome(act, "1").status == "succeeded"


def test_who_interrupts_a_pause_after_an_unknown_end_leaves_it_unknown(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = face.action("act", failing(face, TimeoutError), key="k", retries=SLOW, provider_key=True)
    interrupt(face, act, monkeypatch)
    assert [record.state for record in face.guard.waiting(kind="all")] == ["indeterminate"]
    with pytest.raises(Indeterminate):
        face.call(act, "1")
