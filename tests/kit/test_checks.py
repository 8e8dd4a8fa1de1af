"""Checks: bounded, asked once, never stale, and no answer is guessed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from valhalla.kernel.problems import Unavailable
from valhalla.kit.checks import Checks, Report, Verdict


async def _on_loop(checks: Checks) -> Report:
    return await checks.run()


def _blocking(checks: Checks) -> Report:
    return checks.run_blocking()


def _fresh_loop(checks: Checks) -> Report:
    return asyncio.run(_on_loop(checks))


@pytest.fixture(params=[_blocking, _fresh_loop], ids=["blocking", "loop"])
def run(request: pytest.FixtureRequest) -> Any:
    """Ask from a thread, or on a loop."""
    return request.param


async def _yes() -> bool:
    return True


def test_all_well(run: Any) -> None:
    """Sync, async, and async that does not look so."""
    checks = Checks()
    checks.register("sync", lambda: True)
    checks.register("async", _yes)
    checks.register("hidden", lambda: _yes())  # noqa: PLW0108 - it does not look async
    report = run(checks)
    assert (report.ok, report.reason) == (True, None)
    assert [result.name for result in report.results] == ["sync", "async", "hidden"]
    assert all(result.age is not None and result.age < 60 for result in report.results)


def _raises(error: BaseException) -> Any:
    def check() -> bool:
        raise error

    return check


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (lambda: False, "it failed"),
        (lambda: 1, "it answered int, which is neither true nor false"),
        (lambda: None, "it answered NoneType, which is neither true nor false"),
        (lambda: "ok", "it answered str, which is neither true nor false"),
        (lambda: Verdict(1), "it answered Verdict, which is neither true nor false"),  # type: ignore[arg-type]
        (lambda: Verdict(False, "the disk is full"), "the disk is full"),
        (_raises(OSError("postgresql://u:hunter2@h/d")), "OSError: postgresql://u:***@h/d"),
        (_raises(Unavailable("nats")), "nats cannot be reached"),
        (_raises(SystemExit(3)), "SystemExit: 3"),
        (_raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    ],
    ids=["false", "int", "none", "text", "odd", "verdict", "error", "problem", "exit", "interrupt"],
)
def test_what_is_no_yes_is_a_failure_with_a_reason(run: Any, check: Any, reason: str) -> None:
    """Nothing is coerced, and nothing that is raised gets through."""
    checks = Checks()
    checks.register("x", check, help="look there")
    report = run(checks)
    assert (report.ok, report["x"].reason, report["x"].help) == (False, reason, "look there")
    assert report.reason == f"x: {reason}"


def test_strangers_are_told_no_messages(run: Any) -> None:
    """Only what broke."""
    checks = Checks(messages=False)
    checks.register("x", _raises(OSError("/home/someone")))
    assert run(checks)["x"].reason == "OSError"


def test_one_that_is_not_critical_may_fail(run: Any) -> None:
    """It is told, and readiness stays."""
    checks = Checks()
    checks.register("x", lambda: False, critical=False)
    report = run(checks)
    assert (report.ok, report["x"].ok) == (True, False)


def test_nothing_checked_is_not_ready(run: Any) -> None:
    """No evidence is no GO."""
    assert run(Checks()).reason == "nothing is checked"


def test_one_that_never_returns_is_asked_once(run: Any) -> None:
    """Reported as late, never asked twice in parallel, asked anew once it has answered."""
    checks = Checks()
    end, asked, ended = threading.Event(), [], threading.Event()

    def hang() -> bool:
        asked.append(1)
        end.wait()
        ended.set()
        return True

    checks.register("hangs", hang, timeout=0.05)
    checks.register("well", lambda: True)
    for _ in range(3):
        report = run(checks)
        assert (report.ok, report["hangs"].late, report["well"].ok) == (False, True, True)
        assert report["hangs"].reason == "no answer within 0.05 s"
    assert asked == [1]
    end.set()
    assert ended.wait(10)
    for _ in range(1000):
        if run(checks).ok:
            break
    assert run(checks).ok
    assert len(asked) > 1


async def test_callers_share_one_question() -> None:
    """A hundred who ask at once cost one call."""
    checks, asked = Checks(), []

    async def check() -> bool:
        asked.append(1)
        await asyncio.sleep(0.01)
        return True

    checks.register("x", check)
    reports = await asyncio.gather(*(checks.run() for _ in range(100)))
    assert (all(report.ok for report in reports), asked) == (True, [1])


class _Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_repeated_while_it_is_fresh(run: Any) -> None:
    """With its age; then it is asked again."""
    clock, asked = _Time(), []
    checks = Checks(monotonic=clock)
    checks.register("x", lambda: asked.append(1) is None, cache=2.0)
    assert run(checks)["x"].age == 0
    clock.now += 1.5
    assert run(checks)["x"].age == 1.5
    clock.now += 0.5
    assert run(checks)["x"].age == 0
    assert len(asked) == 2


def test_what_is_known_is_never_stale(run: Any) -> None:
    """An old answer, one not asked yet, and one after the end are no GO."""
    clock = _Time()
    checks = Checks(max_age=60, monotonic=clock)
    checks.register("x", lambda: True)
    assert checks.last().reason == "x: it was not asked yet"
    assert run(checks).ok
    assert checks.last().ok
    clock.now += 61
    assert checks.last().reason == "x: the last answer is 61 s old"
    assert run(checks).ok
    checks.register("y", lambda: False)
    assert checks.last().reason == "y: it was not asked yet"
    checks.remove("y")
    checks.close()
    for report in (checks.last(), run(checks)):
        assert (report.ok, report.reason, report["x"].ok) == (False, "it is closed", False)


def test_evidence_has_its_own_age(run: Any) -> None:
    """What was seen in the background a while ago is as old as that."""
    checks = Checks(max_age=60)
    checks.register("new", lambda: Verdict(True, age=59))
    checks.register("old", lambda: Verdict(True, age=61))
    report = run(checks)
    assert (report["new"].ok, report["old"].ok) == (True, False)


def test_a_choice(run: Any) -> None:
    """Some only, or all but some."""
    checks, asked = Checks(), []
    for name in "abc":
        checks.register(name, lambda name=name: asked.append(name) is None)
    assert [result.name for result in asyncio.run(checks.run(only=["b"])).results] == ["b"]
    assert [result.name for result in checks.run_blocking(exclude=["b"]).results] == ["a", "c"]
    assert sorted(asked) == ["a", "b", "c"]


def test_a_name_is_taken_once() -> None:
    """Unless it is said to be replaced: then its old answer counts no more."""
    checks = Checks()
    checks.register("x", lambda: True)
    with pytest.raises(ValueError, match="already"):
        checks.register("x", lambda: True)
    checks.run_blocking()
    checks.register("x", lambda: False, replaces=True)
    assert not checks.last().ok
    with pytest.raises(ValueError, match="a timeout is"):
        checks.register("y", lambda: True, timeout=0)


async def test_a_check_of_a_loop_that_ended_is_asked_anew() -> None:
    """It could never answer."""
    checks = Checks()
    forever = [True]

    async def check() -> bool:
        if forever:
            await asyncio.Event().wait()
        return True

    checks.register("x", check, timeout=0.02)

    def lost() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(checks.run())
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    await asyncio.to_thread(lost)
    forever.clear()
    assert (await checks.run()).ok


def test_the_import_is_light() -> None:
    """It stands without a server, and without asyncio for who blocks."""
    program = """
import sys
from valhalla.kit.checks import Checks
checks = Checks()
checks.register("x", lambda: True)
assert checks.run_blocking().ok
heavy = {"fastapi", "sqlalchemy", "pydantic", "structlog", "asyncio", "httpx"} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
