"""What a store that is durable, slow or away changes: heartbeats, ends that cannot be written, refusals."""

# ruff: noqa: PLW0108 - a lambda names the parameters, which are what is guarded

from __future__ import annotations

import asyncio
import time as clock
from collections.abc import Iterator
from typing import Any

import pytest
from tests.guard.faces import Face

from valhalla.guard import (
    Governor,
    Guard,
    Indeterminate,
    InProgress,
    MemoryStore,
    StoreRefuses,
    Unrecorded,
    Verdict,
)
from valhalla.guard import errors as problems
from valhalla.guard.contracts import BeginRequest, BeginResult, CasRequest, CasResult
from valhalla.kernel.problems import Unavailable


class Durable(MemoryStore):
    """A store whose rows outlive a process as far as the guard can tell: with leases, and reached by waiting."""

    durable = True
    instant = False

    def __init__(self) -> None:
        super().__init__(Governor())
        self.away: set[str] = set()

    def begin(self, request: BeginRequest) -> BeginResult:
        if "begin" in self.away:
            raise Unavailable("store")
        return super().begin(request)

    def cas(self, request: CasRequest) -> CasResult:
        if (request.event or "heartbeat") in self.away:
            raise Unavailable("store")
        return super().cas(request)


@pytest.fixture
def store() -> Durable:
    return Durable()


@pytest.fixture
def durable(store: Durable) -> Iterator[Guard]:
    made = Guard(store)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest, durable: Guard) -> Face:
    return Face(durable, is_async=request.param == "async")


def test_heartbeats_keep_a_long_execution_alive(durable: Guard) -> None:
    @durable.action("act", key="k", lease=0.3)
    def act(k: str) -> int:
        first = durable.waiting(kind="all")[0].lease_until or 0
        until = clock.monotonic() + 20
        while clock.monotonic() < until:
            (row,) = durable.waiting(kind="all")
            if row.version > 3 and (row.lease_until or 0) > first:
                return row.version
            clock.sleep(0.02)
        return 0

    assert act("1") > 3


def test_a_lease_that_is_not_renewed_lapses(store: Durable, durable: Guard) -> None:
    store.away = {"heartbeat"}

    @durable.action("act", key="k", lease=0.2)
    def act(k: str) -> str:
        until = clock.monotonic() + 20
        while not durable.waiting(kind="lapsed") and clock.monotonic() < until:
            clock.sleep(0.02)
        assert durable.sweep().lapsed == 1
        return "late"

    assert act("1") == "late"
    assert durable.waiting(kind="all")[0].state == "succeeded", "a late end settles what nobody had taken over"


def test_a_store_that_is_away_before_the_effect_runs_nothing(both: Face, store: Durable) -> None:
    act = both.action("act", both.ran.append, key="object")
    store.away = {"begin"}
    with pytest.raises(Unavailable):
        both.call(act, "1")
    assert both.ran == []


def test_an_end_that_cannot_be_written_is_told_and_never_run_again(both: Face, store: Durable) -> None:
    act = both.action("act", lambda k: both.ran.append(k) or "receipt", key="k", lease=0.2, heartbeat=False)
    store.away = {"finish"}
    with pytest.raises(Unrecorded) as caught:
        both.call(act, "1")
    assert caught.value.value == "receipt"
    store.away = set()
    with pytest.raises((Indeterminate, InProgress)):
        both.call(act, "1")
    clock.sleep(0.2)
    with pytest.raises(Indeterminate):
        both.call(act, "1")
    assert both.ran == ["1"]


def test_a_store_that_comes_back_soon_is_told(both: Face, store: Durable, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    told = Durable.cas

    def cas(self: Durable, request: CasRequest) -> CasResult:
        if request.event == "finish":
            tries.append(request.id)
            if len(tries) < 3:
                raise Unavailable("store")
        return told(self, request)

    monkeypatch.setattr(Durable, "cas", cas)
    act = both.action("act", lambda k: "receipt", key="k")
    assert both.call(act, "1") == "receipt"
    assert len(tries) == 3


def test_a_transaction_needs_a_store_that_can_join_it(face: Face) -> None:
    act = face.action("act", lambda connection, k: face.ran.append(k), key="k", transactional="connection")
    with pytest.raises(StoreRefuses):
        face.call(act, object(), "1")
    assert face.ran == []


def test_a_policy_set_later_holds_for_actions_declared_before(face: Face) -> None:
    act = face.action("act", lambda k: face.ran.append(k), key="k")
    face.call(act, "1")
    face.guard.policy = lambda proposal: (Verdict.DENY, "frozen")
    with pytest.raises(problems.Denied, match="frozen"):
        face.call(act, "2")
    assert face.ran == ["1"]


@pytest.mark.parametrize(
    "answer",
    [ValueError("broken"), "maybe", 1, "deny", ("deny", "no"), ("maybe", "no"), (Verdict.DENY,), ("run", "a", "b"), ()],
)
def test_a_policy_that_fails_lets_nothing_through(face: Face, answer: Any) -> None:
    def policy(proposal: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    face.guard.policy = policy
    act = face.action("act", lambda k: face.ran.append(k), key="k")
    with pytest.raises(problems.Denied):
        face.call(act, "1")
    assert face.ran == []


def test_a_policy_may_answer_in_words(face: Face) -> None:
    words: dict[str, Any] = {"1": "run", "2": ("hold", "look first"), "3": ("run", None), "4": "hold"}
    face.guard.policy = lambda proposal: words[str(proposal.key)]
    act = face.action("act", lambda k: face.ran.append(k), key="k")
    outcomes = [face.outcome(act, key) for key in words]
    assert [one.status for one in outcomes] == ["succeeded", "held", "succeeded", "held"]
    assert face.ran == ["1", "3"]


def test_an_action_that_calls_itself_does_not_wait_for_itself(guard: Guard) -> None:
    @guard.action("act", key="k", effect="idempotent")
    def act(k: str) -> str:
        return act(k)

    began = clock.monotonic()
    with pytest.raises(InProgress):
        act("1")
    assert clock.monotonic() - began < guard.patience


def test_a_sync_duplicate_on_a_loop_does_not_stop_the_loop(guard: Guard) -> None:
    started = asyncio.Event()

    async def main() -> None:
        @guard.action("act", key="k")
        async def act(k: str) -> str:
            started.set()
            await asyncio.sleep(0.05)
            return k

        async def other() -> None:
            await started.wait()
            began = clock.monotonic()
            with pytest.raises(InProgress):
                guard.run("act", lambda k: k, "1")
            assert clock.monotonic() - began < guard.patience

        assert (await asyncio.gather(act("1"), other()))[0] == "1"

    asyncio.run(main())
