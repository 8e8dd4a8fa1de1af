"""Counting by rules: all or none, nobody over the rate, usage that outlives a change, bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request
from valhalla.gate.contracts import Asking, Taken
from valhalla.gate.quotas import Quotas
from valhalla.gate.quotas.talkers import Talkers
from valhalla.kernel.principal import Principal


class World:
    """Rules that can be changed and a clock that can be moved."""

    def __init__(self, *rules: LimitRule, **options: Any) -> None:
        self.rules: Sequence[LimitRule] = rules
        self.now = 1000.0
        self.quotas = Quotas(lambda: self.rules, clock=lambda: self.now, **options)

    def ask(self, key: str = "k1", path: str = "/api/x", address: str = "10.0.0.1", **who_is: Any) -> Taken:
        scopes: tuple[str, ...] = who_is.get("scopes", ())
        who = Principal(key, f"owner-{key}", frozenset(scopes), limits=who_is.get("limits", ()))
        taken = self.quotas.take(Asking("GET", path, path, {}, address, who))
        assert isinstance(taken, Taken)
        return taken

    def passes(self, **how: Any) -> bool:
        return self.ask(**how).refusal is None


def rule(name: str, rate: str, **members: Any) -> LimitRule:
    return LimitRule(name, rate, kind=members.pop("kind", "exact"), **members)


def test_a_used_up_limit_says_so() -> None:
    world = World(rule("burst", "2/minute"), rule("daily", "100/day"))
    first = world.ask()
    assert [(q.name, q.limit, q.window, q.remaining) for q in first.quotas] == [
        ("burst", 2, 60.0, 1), ("daily", 100, 86400.0, 99),
    ]  # fmt: skip
    world.ask()
    refused = world.ask()
    assert refused.refusal is not None
    document = refused.refusal.document()
    assert (document["status"], document["code"], document["limit"], document["rate"]) == (
        429, "quota-exceeded", "burst", "2/minute",
    )  # fmt: skip
    assert 59 < document["retry_after"] <= 60
    assert [(q.name, q.remaining) for q in refused.quotas] == [("burst", 0), ("daily", 98)]
    assert world.passes(key="k2")
    world.now += 61
    assert world.passes()


def test_a_refusal_charges_nothing_and_tells_the_longest_wait() -> None:
    world = World(rule("a-wide", "10/hour"), rule("b-narrow", "1/minute"), rule("c-narrow", "1/day"))
    assert world.passes()
    for _ in range(20):
        refused = world.ask().refusal
        assert refused is not None
        assert refused.extra["limit"] == "c-narrow"
    usage = {item["name"]: item for item in world.quotas.usage(5)["items"]}
    assert usage["a-wide"]["taken"] == 1
    assert usage["c-narrow"]["refused"] == 20
    world.rules = world.rules[:1]
    assert [world.passes() for _ in range(10)] == [True] * 9 + [False]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.sampled_from("ab"), st.booleans()), max_size=60),
    st.sampled_from(["gcra", "exact"]),
)
def test_no_window_sees_more_than_the_rate(asked: list[tuple[float, str, bool]], kind: Any) -> None:
    """Whatever comes, and whatever another rule refuses in between."""
    world = World(
        rule("each", "4/minute", kind=kind, costs={"/dear": 2}), rule("other", "3/10s", kind=kind, scope="global")
    )
    passed: list[tuple[float, str, int]] = []
    for pause, key, dear in asked:
        world.now += pause
        if world.passes(key=key, path="/dear" if dear else "/cheap"):
            passed.append((world.now, key, 2 if dear else 1))
    for begin, _, _ in passed:
        for key in "ab":
            assert sum(c for at, k, c in passed if k == key and begin <= at < begin + 59.999) <= 4
        assert len([at for at, _, _ in passed if begin <= at < begin + 9.999]) <= 3


def test_a_change_keeps_the_usage() -> None:
    world = World(rule("n", "3/minute"))
    assert [world.passes() for _ in range(4)] == [True, True, True, False]
    world.rules = (rule("n", "5/minute", description="more"),)
    assert [world.passes() for _ in range(3)] == [True, True, False]
    world.rules = (rule("n", "2/minute"), rule("new", "1/minute", scope="global"))
    assert not world.passes()
    world.rules = ()
    assert world.passes()


def test_a_shadow_refuses_nothing_and_counts() -> None:
    world = World(rule("n", "2/minute", shadow=True))
    assert all(world.passes() for _ in range(5))
    assert world.ask().quotas == []
    [usage] = world.quotas.usage(1)["items"]
    assert (usage["shadowed"], usage["refused"]) == (4, 0)


def test_probes_are_free_and_who_may_change_limits_gets_in() -> None:
    world = World(rule("n", "1/day", scope="global"))
    assert world.passes()
    assert not world.passes()
    assert all(world.passes(path=path) for path in ("/live", "/readyz", "/metrics"))
    assert world.passes(path="/system/rate-limits/n", scopes=("limits:write",))
    assert not world.passes(path="/system/rate-limits/n", scopes=("limits:read",))
    assert not world.passes(path="/system/other", scopes=("admin",))


def test_a_key_has_limits_of_its_own() -> None:
    world = World()
    # even out: half at once, the rest as time goes by
    own = ("4/minute",)
    assert [world.passes(limits=own) for _ in range(3)] == [True, True, False]
    assert world.passes(key="k2", limits=own)
    assert world.passes()
    assert world.ask(limits=("50/hour",)).quotas[0].name == "key-50-hour"


def test_explaining_takes_nothing() -> None:
    world = World(
        rule("n", "2/minute"), rule("s", "1/minute", scope="ip", shadow=True), rule("z", "9/min", routes=("/z",))
    )
    for _ in range(5):
        answer = world.quotas.explain(Request("GET", "/api/x", "/api/x", "10.0.0.1", "owner-k1", "k1"))
    assert answer["allowed"]
    assert [(v["name"], v["counts"], v["remaining"]) for v in answer["verdicts"]] == [
        ("n", True, 2), ("s", True, None), ("z", False, None),
    ]  # fmt: skip
    world.ask()
    world.ask()
    answer = world.quotas.explain(Request("GET", "/api/x", "/api/x", "10.0.0.1", "owner-k1", "k1"))
    assert not answer["allowed"]
    assert answer["verdicts"][0]["retry_after"] > 0


def test_very_many_subjects_share_a_bounded_memory() -> None:
    world = World(rule("n", "5/day", scope="ip", kind="gcra"), most_subjects=2000)
    for n in range(14_000):
        world.ask(address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert world.quotas.usage(3)["buckets"] < 2000 + 4096 + 8192 + 1
    assert len(world.quotas.usage(100)["items"][0]["top"]) <= 100


def test_the_loudest_are_known_among_very_many() -> None:
    talkers = Talkers(0.0)
    for n in range(20_000):
        talkers.note(f"quiet-{n}", 1, n / 1000, refused=False)
        if n % 20 == 0:
            talkers.note("loud", 1, n / 1000, refused=n % 40 == 0)
    assert talkers.top(1)[0][0] == "loud"
    assert talkers.taken == 20_500


def test_threads_never_pass_more_together() -> None:
    world = World(rule("a", "100/day", scope="global"), rule("b", "1000/day", scope="global"))
    passed: list[int] = []

    def hammer() -> None:
        passed.append(sum(world.passes() for _ in range(100)))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 100
