"""An action's whole life against a model: random calls, decisions, crashes and hours, on both paths and both faces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.guard.faces import ROLES, Time

from valhalla.guard import DoneFailed, Guard, NotDone
from valhalla.guard.contracts import Scan
from valhalla.guard.lifecycle import LIFECYCLE
from valhalla.kernel.problems import Problem

KEYS = st.sampled_from(["k1", "k2"])
NAMES = st.sampled_from(["plain", "held", "repeatable"])
ENDS = st.sampled_from(["value", "not_done", "failed", "unknown"])


class UnknownEnd(Exception):  # noqa: N818 - a statement about the effect
    """What an effect raises when nobody can tell whether it happened."""


class Life(RuleBasedStateMachine):
    """The model knows which effects happened; the guard must never let one happen twice."""

    is_async = False

    @initialize(fused=st.booleans())
    def begin(self, fused: bool) -> None:
        """Make a guard with three actions."""
        self.time = Time()
        self.guard = Guard(roles=ROLES, clock=self.time, fused=fused, patience=0.0, max_holds=3)
        self.end = "value"
        # executions of which nobody has said that they did nothing
        self.done: dict[tuple[str, str, int], int] = {}
        self.freed: set[str] = set()
        self.actions = {
            "plain": self._declare("plain", key="key", limit="30/hour"),
            "held": self._declare("held", key="key", approval="2 of finance", expires_in=3600),
            "repeatable": self._declare("repeatable", key="key", effect="idempotent"),
        }

    def _declare(self, name: str, **options: Any) -> Any:
        def effect(key: str, amount: int) -> int:
            if self.end == "not_done":
                raise NotDone
            place = (name, key, amount)
            self.done[place] = self.done.get(place, 0) + 1
            if self.end == "failed":
                raise DoneFailed
            if self.end == "unknown":
                raise UnknownEnd
            return amount

        async def aeffect(key: str, amount: int) -> int:
            await asyncio.sleep(0)
            return effect(key, amount)

        return self.guard.action(name, **options)(aeffect if self.is_async else effect)

    def _do(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = function(*args, **kwargs)
            return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
        except (Problem, NotDone, DoneFailed, UnknownEnd) as error:
            return error

    def _method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._do(getattr(self.guard, f"a{name}" if self.is_async else name), *args, **kwargs)

    @rule(name=NAMES, key=KEYS, amount=st.integers(1, 2), end=ENDS)
    def call(self, name: str, key: str, amount: int, end: str) -> None:
        """Call; a replay gives what the first call gave."""
        self.end = end
        answer = self._do(self.actions[name], key, amount)
        if isinstance(answer, int):
            assert answer == amount
            assert self.done[name, key, amount] >= 1

    @rule(which=st.integers(0, 5), by=st.sampled_from(["ana", "bo", "cy", "anonymous"]), approve=st.booleans())
    def decide(self, which: int, by: str, approve: bool) -> None:
        """Let somebody decide about some hold."""
        holds = self.guard.waiting()
        if holds:
            self._method("approve" if approve else "deny", holds[which % len(holds)].id, by=by)

    @rule(which=st.integers(0, 5))
    def cancel(self, which: int) -> None:
        """Take some hold back."""
        holds = self.guard.waiting()
        if holds:
            self._method("cancel", holds[which % len(holds)].id)

    @rule(end=ENDS)
    def dispatch(self, end: str) -> None:
        """Run what is approved."""
        self.end = end
        approved = {record.id for record in self.guard.waiting(kind="approved")}
        before = sum(self.done.values())
        self._method("dispatch")
        assert sum(self.done.values()) - before <= len(approved)

    @rule(seconds=st.sampled_from([1, 1800, 3601, 90_000]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.time.now += seconds
        if seconds > 86_400:
            # results and denials are over; what cannot be taken back is remembered for 30 days
            self.done = {place: n for place, n in self.done.items() if place[0] != "repeatable"}

    @rule()
    def sweep(self) -> None:
        """Let the sweeper and the purge work."""
        self._method("sweep")
        self.guard.clear_expired()

    @rule(which=st.integers(0, 5), to=st.sampled_from(["succeeded", "failed", "not_done"]))
    def settle(self, which: int, to: str) -> None:
        """Let a person settle some unknown end; a lie of theirs is theirs."""
        unknown = self.guard.waiting(kind="indeterminate")
        if unknown:
            record = unknown[which % len(unknown)]
            found = next(a for (name, key, a) in self.done if (name, key) == (record.name, record.key))
            self._method("settle", record.id, to, evidence="looked", value=found)
            if to == "not_done":
                for amount in (1, 2):
                    self.done.pop((record.name, record.key or "", amount), None)

    @invariant()
    def no_irreversible_effect_happens_twice(self) -> None:
        """What was not settled as not done happened at most once, whatever its arguments."""
        happened: dict[tuple[str, str], int] = {}
        for (name, key, _), times in getattr(self, "done", {}).items():
            if name != "repeatable":
                happened[name, key] = happened.get((name, key), 0) + times
        assert all(times <= 1 for times in happened.values()), happened

    @precondition(lambda self: hasattr(self, "guard"))
    @invariant()
    def nothing_runs_without_its_approvals(self) -> None:
        """Every held action that was executed has two approvers who are not the requester."""
        for record in self.guard.store.scan(Scan("all", name="held", limit=1000)).records:
            if record.state in ("approved", "executing", "succeeded", "failed", "indeterminate"):
                approvers = {a.approver for a in record.approvals if a.decision == "approve"}
                assert approvers >= {"ana", "bo"}

    def teardown(self) -> None:
        """Every step in the ledger is one of the declared lifecycle."""
        if not hasattr(self, "guard"):
            return
        states: dict[str, str] = {}
        for line in self.guard.store.scan(Scan("ledger", limit=10_000)).lines:
            if line.event in ("limited", "denied") and line.id not in states:
                continue
            before = states.get(line.id, "proposed" if line.begun_at is None else "executing")
            if before != line.state:
                LIFECYCLE.check(before, line.state)
            states[line.id] = line.state
        self.guard.close()


class AsyncLife(Life):
    """The same on an event loop."""

    is_async = True


_quick = settings(max_examples=25, stateful_step_count=25, deadline=None)
_long = settings(max_examples=600, stateful_step_count=60, deadline=None)

TestLife = Life.TestCase
TestLife.settings = _quick
TestAsyncLife = AsyncLife.TestCase
TestAsyncLife.settings = _quick


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", [Life, AsyncLife])
def test_a_long_life(machine: type[Life]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=_long)
