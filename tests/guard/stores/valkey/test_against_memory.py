"""The scripts answer as the memory store does, whatever is asked in whatever order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.guard.stores.valkey.asking import beginning
from tests.guard.stores.valkey.conftest import Make

from valhalla.guard import Governor
from valhalla.guard.contracts import (
    OPEN,
    Approval,
    BeginRequest,
    CasRequest,
    Effect,
    Failure,
    Hold,
    Record,
    Scan,
    Step,
    Take,
    Verdict,
)
from valhalla.guard.governor import Limit
from valhalla.guard.stores import Store
from valhalla.guard.stores.memory import MemoryStore

STATES = (
    "held", "approved", "denied", "expired", "cancelled", "superseded", "stale", "executing", "succeeded", "failed",
    "not_done", "indeterminate",
)  # fmt: skip
LIMITS = (
    Limit(capacity=9, window=86_400.0, name="day"),
    Limit(capacity=14, window=86_400.0, name="burst", kind="gcra", burst=12, scope="all"),
    Limit(capacity=1, window=86_400.0, name="watched", shadow=True),
)


def told(record: Record | None) -> Any:
    """Return what both must agree on: all but the results' form and the instants, durations to ten seconds."""
    if record is None:
        return None
    times = [
        None if at is None else round(at - record.updated_at, -1)
        for at in (record.lease_until, record.expires_at, record.value_until, record.keep_until)
    ]
    plain = {name: getattr(record, name) for name in record.__struct_fields__ if not name.endswith(("_at", "_until"))}
    return plain | {"times": times}


def proposals(chance: random.Random, count: int) -> list[BeginRequest | CasRequest]:
    """Return requests that often meet each other."""
    asked: list[BeginRequest | CasRequest] = []
    for number in range(count):
        if chance.random() < 0.55:
            verdict = chance.choice([Verdict.RUN, Verdict.RUN, Verdict.HOLD, Verdict.DENY])
            hold = Hold((Step(2, "finance"),), 3600.0, 2, b"\xff\x00", "a sum") if verdict is Verdict.HOLD else None
            take = Take("pay", chance.choice("xy"), chance.choice((1, 2, 13)), None, LIMITS)
            asked.append(
                beginning(
                    chance.choice(["k1", "k2", "k3 \u00e9\U0001f600", None]),
                    id=f"id{number:014}",
                    effect=chance.choice([Effect.IRREVERSIBLE, Effect.IDEMPOTENT]),
                    fingerprint=chance.choice([b"\x80" * 16, b"\x80" * 16, b"\x81" * 16]),
                    principal=chance.choice(["ada", "bo"]),
                    verdict=verdict,
                    hold=hold,
                    takes=chance.choice([(), (), (take,), (take, Take("pay", "z", 1, ("day",), LIMITS))]),
                    keep=chance.random() < 0.7,
                    track=chance.random() < 0.7,
                    on_lapse=chance.choice(["rerun", "report"]),
                    lease=chance.choice([3600.0, 3600.0, 0.0]),
                    report=chance.random() < 0.5,
                    reason=chance.choice([None, "because"]),
                    parent="p",
                )
            )
        else:
            patches: list[dict[str, Any]] = [
                {},
                {"value": b'{"a":1}'},
                {"failure": Failure("E", "text"), "reason": "r", "evidence": None},
                {"approvals": (Approval(0, "cy", "approve", b"\xff" * 16, 1.5, "fine"),), "policy": "p2"},
                {"payload": b"\x00" * 300, "summary": "s" * 70_000, "quorum": (Step(1),), "fingerprint": b"\x82" * 16},
            ]
            sources = frozenset(chance.sample(STATES, chance.choice([4, 12])))
            to = chance.choice(STATES)
            if to in OPEN:
                # nothing opens what is not open
                sources &= OPEN
            asked.append(
                CasRequest(
                    chance.choice([*[r.id for r in asked if isinstance(r, BeginRequest)][-8:], "nobody"]),
                    sources,
                    to,  # pyright: ignore[reportArgumentType]
                    chance.choice([None, "event"]),
                    "cy",
                    generation=chance.choice([None, None, 1, 2]),
                    version=chance.choice([None, None, 1, 2]),
                    when=chance.choice([None, None, "unexpired", "expired", "lapsed"]),
                    takes=chance.choice([(), (Take("pay", "x", 1, None, LIMITS),)]),
                    lease=chance.choice([None, 3600.0]),
                    expires_in=chance.choice([None, 3600.0, 0.0]),
                    ttl=chance.choice([None, 3600.0]),
                    tombstone=chance.choice([None, 0.0, 60.0]),
                    patch=chance.choice(patches),  # pyright: ignore[reportArgumentType]
                )
            )
    return asked


def ask(store: Store, request: BeginRequest | CasRequest) -> tuple[Any, ...]:
    result = store.begin(request) if isinstance(request, BeginRequest) else store.cas(request)
    policies = [(name, left, round(reset, -1)) for name, left, reset in result.policies]
    wait = None if result.retry_after is None else round(result.retry_after, -1)
    return result.kind, told(result.record), wait, result.limit, policies


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 200))])
def test_the_same_questions_get_the_same_answers(make: Make, seed: int) -> None:
    memory = MemoryStore(Governor({"pay": LIMITS}))
    store = make()
    for request in proposals(random.Random(seed), 120):
        ours, theirs = ask(store, request), ask(memory, request)
        assert ours == theirs, request
    for kind in ("open", "approved", "overdue", "lapsed", "indeterminate"):
        found = [{told(r)["id"] for r in s.scan(Scan(kind)).records} for s in (store, memory)]
        assert found[0] == found[1], kind
    lines = [[(x.event, x.id, x.state, x.principal, x.reason) for x in _lines(s)] for s in (store, memory)]
    assert lines[0] == lines[1]


def _lines(store: Store) -> list[Any]:
    lines, page = list[Any](), store.scan(Scan("ledger"))
    while True:
        lines += page.lines
        if page.cursor is None:
            return lines
        page = store.scan(Scan("ledger", after=page.cursor))
