"""Real threads that are switched as often as possible: counts are exact."""

from __future__ import annotations

import dis
import inspect
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from tests.guard.governor.virtual import VirtualClock

from valhalla.guard.governor import Governor, Limit
from valhalla.guard.governor import governor as governor_module
from valhalla.guard.governor.gcra import GcraTable
from valhalla.guard.governor.ring import RingTable

THREADS = 8
Kind = Literal["exact", "gcra"]
KINDS = pytest.mark.parametrize("kind", ["exact", "gcra"])


@pytest.fixture(autouse=True)
def _restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None]) -> None:
    """Run ``work`` in all threads at once; raise what one of them raised."""
    start = threading.Barrier(THREADS)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as failure:  # noqa: BLE001 - told to the test
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def one(kind: Kind, capacity: int, **more: Any) -> Limit:
    """Make a limit that hands out all at once and, in a test's time, nothing more."""
    burst = capacity if kind == "gcra" else None
    return Limit(**{"capacity": capacity, "window": 86_400.0, "kind": kind, "burst": burst, **more})


@KINDS
@pytest.mark.parametrize("cost", [1, 3])
def test_one_key_is_counted_exactly(kind: Kind, cost: int) -> None:
    for _ in range(5):
        check = Governor({"mail": one(kind, 400)}).bind("mail")
        admitted = Counter[int]()

        def work(number: int, check: Any = check, admitted: Counter[int] = admitted) -> None:
            admitted[number] = sum(check("k", cost).allowed for _ in range(200))

        together(work)
        assert admitted.total() == 400 // cost


@KINDS
def test_keys_that_appear_and_disappear_are_counted_exactly(kind: Kind) -> None:
    """All threads go through the same subjects while dictionaries grow, turn and are swept."""
    governor = Governor({"mail": one(kind, 5)})
    check = governor.bind("mail")
    subjects = [f"user:{number}" for number in range(2000)]
    admitted = [Counter[str]() for _ in range(THREADS)]
    (table,) = governor._own["mail"]  # pyright: ignore[reportPrivateUsage]

    def work(number: int) -> None:
        mine = subjects * 2
        random.Random(number).shuffle(mine)
        for step, subject in enumerate(mine):
            if check(subject).allowed:
                admitted[number][subject] += 1
            if step % 50 == 0:
                table.due = 0.0
                governor.take("mail", subject=f"extra:{number}:{step}")

    together(work)
    total = sum(admitted, Counter[str]())
    assert set(total.values()) == {5}
    assert len(total) == len(subjects)


@KINDS
def test_several_limits_are_counted_exactly(kind: Kind) -> None:
    """What one limit refuses is never missing at another."""
    governor = Governor(
        {
            "mail": [one(kind, 300, name="mail", scope="all"), one(kind, 100, name="subject")],
            "sms": one(kind, 300, name="sms", scope="all"),
            "*": one(kind, 500, name="all", scope="all"),
        }
    )
    admitted: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        mine: Counter[str] = Counter()
        for step in range(150):
            resource = "mail" if (number + step) % 2 else "sms"
            if governor.take(resource, f"user:{number % 2}").allowed:
                mine[resource] += 1
                mine[f"{resource}:{number % 2}"] += 1
        with lock:
            admitted.update(mine)

    together(work)
    # 600 wanted mail, 200 may (100 for each of two subjects); 600 wanted sms, 300 may; together that is all of 500
    assert admitted["mail:0"] == admitted["mail:1"] == 100
    assert admitted["sms"] == 300
    left = {name: remaining for name, remaining, _ in governor.peek("mail", "user:0").policies}
    assert left == {"mail": 100, "subject": 0, "all": 0}


@KINDS
def test_take_and_refund_leave_nothing_behind(kind: Kind) -> None:
    governor = Governor({"mail": one(kind, 20)})
    most = [0]
    inside = [0]
    lock = threading.Lock()

    def work(number: int) -> None:
        for step in range(200):
            cost = 1 + (number + step) % 3
            decision = governor.take("mail", "k", cost)
            if decision.allowed:
                with lock:
                    inside[0] += cost
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= cost
                    governor.refund("mail", "k", cost)

    together(work)
    assert most[0] <= 20
    assert governor.peek("mail", "k").policies[0][1] == 20


@KINDS
def test_a_limit_changes_under_load(kind: Kind) -> None:
    """Up and down between 50 and 200 while eight threads take: never more than the largest, nothing forgotten."""
    governor = Governor({"mail": one(kind, 200)}, clock=VirtualClock())
    check = governor.bind("mail")
    admitted = Counter[int]()

    def work(number: int) -> None:
        if number == 0:
            for step in range(60):
                governor.set_limit("mail", one(kind, 50 if step % 2 else 200))
            governor.set_limit("mail", one(kind, 200))
        admitted[number] = sum(check("k").allowed for _ in range(300))

    together(work)
    assert admitted.total() == 200


@KINDS
def test_an_interpreter_without_atomic_lines_takes_under_a_lock(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a free-threaded build, where the short way would count wrongly."""
    monkeypatch.setattr(governor_module, "LINES_ARE_ATOMIC", False)
    governor = Governor({"mail": one(kind, 400)})
    check = governor.bind("mail")
    (table,) = governor._own["mail"]  # pyright: ignore[reportPrivateUsage]
    held: set[bool] = set()
    take = table.take
    lock = governor._plans["mail"]._lock  # pyright: ignore[reportPrivateUsage]
    assert lock is not None

    def watched(subject: str, units: int, now: float) -> bool:
        held.add(lock._is_owned())  # type: ignore[union-attr]
        return take(subject, units, now)

    monkeypatch.setattr(table, "take", watched)
    admitted = Counter[int]()

    def work(number: int) -> None:
        admitted[number] = sum(check("k").allowed for _ in range(200))

    together(work)
    assert admitted.total() == 400
    assert held == {True}
    assert table.open is None


_LINES = [
    GcraTable.take,
    GcraTable.refund,
    GcraTable.checker,
    RingTable.take,
    RingTable.checker,
    RingTable._write,  # pyright: ignore[reportPrivateUsage]
    RingTable._replace,  # pyright: ignore[reportPrivateUsage]
]


@pytest.mark.parametrize("method", _LINES)
def test_the_lines_that_must_be_one_step_have_no_call(method: Any) -> None:
    """CPython lets other threads run at calls, backward jumps and function starts: such a line has none of them."""
    source, first = inspect.getsourcelines(method)
    marked = [
        first + place + next(skip for skip in (1, 2) if "# fmt: off" not in source[place + skip])
        for place, text in enumerate(source)
        if "one line without a call" in text
    ]
    assert marked

    def codes(code: Any) -> Iterator[Any]:
        yield code
        for constant in code.co_consts:
            if inspect.iscode(constant):
                yield from codes(constant)

    found = 0
    for code in codes(method.__code__):
        for instruction in dis.get_instructions(code):
            where = instruction.positions
            if where is not None and where.lineno in marked:
                found += 1
                assert "CALL" not in instruction.opname
                assert instruction.opname not in ("JUMP_BACKWARD", "BUILD_TUPLE", "BUILD_LIST", "BUILD_SLICE", "RESUME")
    assert found > 10
