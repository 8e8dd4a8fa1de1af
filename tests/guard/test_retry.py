"""Attempts inside one claim: after which errors, how many, until when."""

from __future__ import annotations

import asyncio
import time as clock

import pytest
from tenacity import wait_fixed
from tests.guard.faces import Face
from tests.guard.failing import QUICK, failing

from valhalla.guard import BadDeclaration, DeadlineExceeded, DoneFailed, Guard, Indeterminate, NotDone, Retry


def test_a_transient_error_is_tried_again_inside_one_claim(face: Face) -> None:
    body = failing(face, TimeoutError, ConnectionResetError, NotDone)
    act = face.action("act", body, key="k", effect="idempotent", retries=QUICK)
    assert face.call(act, "1") == "done"
    assert face.ran == [face.ran[0]] * 4
    assert face.guard.get(face.ran[0]).generation == 1


def test_attempts_end(face: Face) -> None:
    body = failing(face, *[TimeoutError] * 9)
    act = face.action("act", body, key="k", effect="idempotent", retries=QUICK)
    with pytest.raises(TimeoutError):
        face.call(act, "1")
    assert len(face.ran) == 4


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError])
def test_a_programming_error_is_not_tried_again(face: Face, error: type[Exception]) -> None:
    act = face.action("act", failing(face, error), effect="idempotent", retries=QUICK)
    with pytest.raises(error):
        face.call(act)
    assert len(face.ran) == 1


def test_an_irreversible_action_is_tried_again_only_if_nothing_was_done(face: Face) -> None:
    act = face.action("act", failing(face, NotDone, TimeoutError), key="k", retries=QUICK)
    with pytest.raises(TimeoutError):
        face.call(act, "1")
    with pytest.raises(Indeterminate):
        face.call(act, "1")
    assert len(face.ran) == 2


@pytest.mark.parametrize("error", [Exception, TimeoutError, OSError, ConnectionError])
def test_errors_that_prove_nothing_cannot_be_declared_safe(face: Face, error: type[Exception]) -> None:
    with pytest.raises(BadDeclaration):
        face.action("act", lambda: None, retries=3, retry_on=error)
    with pytest.raises(BadDeclaration):
        face.action("act", lambda: None, retries=3, retry_on=(NotDone, error))
    face.action("act", lambda: None, retries=3, retry_on=error, provider_key=True)


def test_with_the_providers_key_a_timeout_may_be_tried_again_but_stays_unknown(face: Face) -> None:
    act = face.action(
        "act", failing(face, TimeoutError, NotDone, NotDone, NotDone), key="k", retries=QUICK, provider_key=True
    )
    with pytest.raises(NotDone):
        face.call(act, "1")
    assert len(face.ran) == 4
    with pytest.raises(Indeterminate):
        face.call(act, "1")


def test_a_business_failure_is_not_tried_again(face: Face) -> None:
    act = face.action("act", failing(face, DoneFailed), effect="idempotent", retries=QUICK, retry_on=Exception)
    with pytest.raises(DoneFailed):
        face.call(act)
    assert len(face.ran) == 1


def test_the_deadline_ends_attempts(face: Face) -> None:
    act = face.action(
        "act", failing(face, *[TimeoutError] * 9), effect="idempotent", retries=Retry(9, base=30, cap=60), timeout=0.2
    )
    began = clock.monotonic()
    with pytest.raises(TimeoutError):
        face.call(act)
    assert clock.monotonic() - began < 20
    assert 1 <= len(face.ran) < 9


def test_a_deadline_that_passes_in_a_pause_tells_why_the_attempts_failed(guard: Guard) -> None:
    """A busy machine sleeps longer than it was asked to."""
    ran: list[int] = []

    @guard.action("act", effect="idempotent", retries=Retry(9, wait=wait_fixed(0.01)), timeout=0.3)
    async def act() -> None:
        ran.append(1)
        asyncio.get_running_loop().call_soon(clock.sleep, 0.4)
        raise ConnectionResetError("why")

    with pytest.raises(ConnectionResetError, match="why"):
        asyncio.run(act())
    assert ran == [1]


def test_a_deadline_that_has_passed_runs_nothing(face: Face) -> None:
    act = face.action("act", lambda: face.ran.append(1))
    with face.guard.acting(deadline=-1), pytest.raises(DeadlineExceeded):
        face.call(act)
    assert face.ran == []


def test_an_async_timeout_of_an_irreversible_action_is_unknown(guard: Guard) -> None:
    @guard.action("act", key="k", timeout=0.02)
    async def act(k: str) -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await act("1")
        with pytest.raises(Indeterminate):
            await act("1")

    asyncio.run(main())


def test_a_cancelled_task_leaves_an_unknown_end(guard: Guard) -> None:
    began = asyncio.Event()

    @guard.action("act", key="k")
    async def act(k: str) -> None:
        began.set()
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.ensure_future(act("1"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(Indeterminate):
            await act("1")

    asyncio.run(main())


def test_an_interrupt_leaves_an_unknown_end(guard: Guard) -> None:
    @guard.action("act", key="k")
    def act(k: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        act("1")
    with pytest.raises(Indeterminate):
        act("1")
