"""Which policies are asked, in which order, and what they say together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.security.policies import asked, policy, said

from valhalla.features.security.policies import rules, stock
from valhalla.features.security.policies.book import Book
from valhalla.features.security.policies.conditions import Condition
from valhalla.features.security.policies.contracts import Deed, Source
from valhalla.features.security.policies.errors import BadPolicy
from valhalla.kernel.principal import Principal


def test_the_highest_priority_comes_first_and_whoever_ends_it_does() -> None:
    book = Book(
        [
            policy("z-allow", 'request.path == "/free"', "allow", priority=5),
            policy("log", action="log", priority=4),
            policy("shadow", action="block", priority=3, shadow=True),
            policy("off", action="block", priority=9, enabled=False),
            policy("b-raise", action="elevate", priority=1),
            policy("a-block", action="block"),
            policy("b-never", action="hold"),
        ]
    )
    assert said(book, asked("/free")) == ("z-allow", [], {"z-allow": None})
    matched = {"log": None, "shadow": None, "b-raise": None, "a-block": None}
    assert said(book, asked("/x")) == ("a-block", ["log", "b-raise", "a-block"], matched)


segments = st.lists(st.sampled_from(["a", "b", "api", "x-y"]), max_size=4).map(lambda parts: "/" + "/".join(parts))


patterns = st.builds(lambda path, star: path + star, segments, st.sampled_from(["", "*", "/*", "-*"]))


@given(st.lists(st.lists(patterns, max_size=3), min_size=1, max_size=8), segments, st.sampled_from(["", "/", "-z"]))
@settings(max_examples=60, deadline=None)
def test_the_index_finds_exactly_those_whose_paths_fit(paths: list[list[str]], path: str, tail: str) -> None:
    path += tail
    policies = [policy(f"p{number}", paths=tuple(each)) for number, each in enumerate(paths)]
    found = [one.policy.name for one in Book(policies).on_request(path, "normal").policies]
    fitting = [
        one.name
        for one in policies
        if not one.paths or any(path.startswith(p[:-1]) if p.endswith("*") else path == p for p in one.paths)
    ]
    assert found == sorted(fitting)


def test_methods_modes_and_counters_narrow_who_is_asked() -> None:
    book = Book(
        [
            policy("write", "counters.scans_hour == 0", methods=("POST",)),
            policy("strict", modes=("lockdown",)),
            policy("many", "counters.failed_auth >= 5"),
        ]
    )
    assert said(book, asked()) == (None, [], {})
    assert said(book, asked(method="POST"))[0] == "write"
    assert said(book, asked(), mode="lockdown")[0] == "strict"
    assert said(book, asked(), {"failed_auth": 5})[0] == "many"
    assert said(book, asked(), {"failed_auth": 4})[0] is None


@pytest.mark.parametrize(
    ("when", "counted"),
    [
        ("counters.failed_auth >= 5", {"failed_auth"}),
        ('counters.scans_hour > 0 && request.method == "GET"', {"scans_hour"}),
        ("principal.anonymous && counters.denied >= 1 && counters.scans >= 2", {"denied", "scans"}),
        ("counters.failed_auth >= 0", set()),
        ("counters.failed_auth < 5", set()),
        ("counters.failed_auth >= 5 || true", set()),
        ("!(counters.failed_auth >= 5)", set()),
        ("counters.failed_auth >= 5 ? true : false", set()),
        ("(counters.failed_auth >= 5 || true) && principal.anonymous", set()),
        ("(counters.failed_auth >= 5) == false", set()),
    ],
    ids=range(10),
)
def test_only_a_conjunction_lets_who_was_not_counted_pass_unasked(when: str, counted: set[str]) -> None:
    assert Condition(when, "request").counted == counted


@pytest.mark.parametrize(
    "members",
    [
        {"name": "1x"}, {"paths": ("api",)}, {"paths": ("/a*b",)}, {"methods": ("HEAD",)}, {"modes": ()},
        {"action": "elevate", "mode": "normal"}, {"action": "elevate", "duration": 10}, {"duration": 0.5},
        {"duration": 91 * 86_400.0}, {"on": "honeypot", "action": "challenge", "when": "true"},
        {"on": "honeypot", "action": "block", "paths": ("/a",)}, {"on": "honeypot", "when": "request.path == ''"},
    ],
    ids=range(12),
)  # fmt: skip
def test_a_policy_that_contradicts_itself_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):
        rules.check(policy(**{"when": "true", **members}))


def test_the_stock_is_valid_and_lockdown_lets_those_pass_who_end_it() -> None:
    for one in stock.STOCK:
        rules.check(one)
    book = Book(stock.STOCK)
    for scope, ending in [("policies:write", None), ("admin", None), ("bouncer", None), ("sandbox:write", "lockdown")]:
        caller = Principal("k", "o", frozenset({scope}))
        assert said(book, asked("/api/x", principal=caller), mode="lockdown")[0] == ending
    assert said(book, asked("/api/x"), mode="lockdown")[0] == "lockdown"
    assert said(book, asked("/api/x")) == (None, [], {})


def test_what_honeypots_caught_is_judged_by_the_sum() -> None:
    candidates = Book(stock.STOCK).on_honeypot("normal")

    def judged(total: int) -> list[str]:
        source = Source("203.0.113.7", "decoy_path", "decoys", "http", 10, total, 3)
        values = rules.source_values(source, "normal")
        decision, _ = rules.decide(candidates, "", lambda _: values, None, lambda one: Deed(one, None, None, ""))
        return [deed.policy.name for deed in decision.deeds]

    assert judged(29) == []
    assert judged(30) == ["honeypots"]


def test_a_policy_of_another_release_is_broken_and_the_others_hold() -> None:
    book = Book([policy("new", "tomorrow.word == 1"), policy("old")])
    assert (list(book.broken), said(book, asked())[0]) == (["new"], "old")
