"""Conditions, what they may be, which policies are asked, and what they say together."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.features.security.blocklist import Facts
from valhalla.features.security.policies import compile_rule, rules, stock
from valhalla.features.security.policies.book import Book
from valhalla.features.security.policies.conditions import Condition, in_network
from valhalla.features.security.policies.contracts import Deed, Mode, ModeState, Policy, Request, Source
from valhalla.features.security.policies.counting import Answered, Counters, counter_of
from valhalla.features.security.policies.errors import BadCondition, BadMode, BadPolicy
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN = Principal("k1", "root", frozenset({"admin"}))


def policy(name: str = "p", when: str = "true", action: Any = "challenge", **more: Any) -> Policy:
    return Policy(name, when, action, **more)


def asked(path: str = "/", method: str = "GET", principal: Principal | None = None, **headers: str) -> Request:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request(method, path, path, b"a=1", raw, "203.0.113.7", principal)


def said(
    book: Book, request: Request, counts: Mapping[str, int] | None = None, mode: Mode = "normal"
) -> tuple[str | None, list[str], dict[str, str | None]]:
    """Who ended it, who does something, and who matched (None) or failed."""
    decision, verdicts = rules.decide(
        book.on_request(request.path, mode),
        request.method,
        lambda members: rules.request_values(request, members, counts, mode),
        counts,
        lambda one: Deed(one, request.address, request.principal, ""),
    )
    ending = None if decision.ending is None else decision.ending.name
    return ending, [deed.policy.name for deed in decision.deeds], {one.policy.name: one.error for one in verdicts}


@pytest.mark.parametrize(
    ("when", "request_", "holds"),
    [
        ('request.method == "POST"', asked(method="POST"), True),
        ('request.path.startsWith("/api/") && principal.anonymous', asked("/api/x"), True),
        ('request.path.startsWith("/api/") && principal.anonymous', asked("/api/x", principal=ADMIN), False),
        ('"admin" in principal.scopes && principal.admin && principal.owner == "root"', asked(principal=ADMIN), True),
        (r'request.path.matches(r"\.php$")', asked("/a/index.php"), True),
        ('request.path.matches("^/x")', asked("/a/x"), False),
        ('inNetwork(request.address, "203.0.113.0/24")', asked(), True),
        ('request.user_agent.contains("sqlmap")', asked(user_agent="sqlmap/1.7"), True),
        ('request.headers["x-a"] == "1" && request.query == "a=1"', asked(x_a="1"), True),
        ("request.has_key", asked(authorization="Bearer vh_x"), True),
        ('"authorization" in request.headers || "cookie" in request.headers', asked(authorization="x"), False),
        ('sandbox.ref == "abc"', asked("/api/sandboxes/abc/events"), True),
        ('mode == "normal"', asked(), True),
        ('principal.scopes.exists(s, s == "admin")', asked(principal=ADMIN), True),
    ],
)  # fmt: skip
def test_a_condition_sees_the_request_and_never_what_authenticates(when: str, request_: Request, holds: bool) -> None:
    ending, _, verdicts = said(Book([policy(when=when)]), request_)
    assert (ending == "p") is holds
    assert verdicts == ({"p": None} if holds else {})


@pytest.mark.parametrize(
    "when",
    [
        "", "#", "1", "request.path", "request.nope == 1", "foo == 1", "request.path.lower() == ''", "request ==",
        "counters.failed_auth >= 257", "counters.failed_auth > 256", "request.path.matches(request.query)",
        "matches(request.path, 'a')", "'a'.matches('(a{1000}){1000}')", "'a'.matches('(')", "fits_('a', 'b')",
        "[1].all(x, [2].all(y, true))", "[1].map(x, x).all(y, true)",
        "[1].all(a, true) || [1].all(b, true) || [1].all(c, true)", "(" * 30 + "true" + ")" * 30,
        "[" * 30 + "]" * 30 + " == []", "!" * 500 + "true",
        "'" + "a" * 3000 + "' == ''", " && ".join(["true"] * 300), "source.score > 1",
    ],
    ids=range(24),
)  # fmt: skip
def test_what_is_no_condition_or_could_take_long_is_refused_at_once(when: str) -> None:
    with pytest.raises(BadCondition):
        Condition(when, "request")


@given(st.text(alphabet="()[]{}!&|=<>.,'\"\\ abmr1truefalsepathcounters", max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_condition_or_a_problem(text: str) -> None:
    with contextlib.suppress(BadCondition):
        Condition(text, "request")


def test_a_condition_that_fails_says_nothing_and_the_next_is_asked() -> None:
    book = Book([policy("a", 'request.headers["x"] == "1"', priority=1), policy("b")])
    assert said(book, asked()) == ("b", ["b"], {"a": "KeyError", "b": None})


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


class Watch(Clock):
    """A clock that tests move."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


@given(st.lists(st.tuples(st.floats(0, 200), st.sampled_from(["203.0.113.7", "203.0.113.8"])), max_size=60))
@settings(max_examples=30, deadline=None)
def test_counts_are_exact_in_their_windows(steps: list[tuple[float, str]]) -> None:
    clock = Watch()
    counters = Counters(clock)
    happened: list[tuple[float, str]] = []
    for pause, address in steps:
        clock.at += pause
        counters.note("scans", address)
        happened.append((clock.at, address))
        for each in ("203.0.113.7", "203.0.113.8"):
            ages = [clock.at - at for at, whose in happened if whose == each]
            found = counters.of(each) or rules.no_counts()
            assert found["scans_hour"] == sum(age <= 3600 for age in ages)
            assert found["scans"] == sum(age <= 60 for age in ages)


def test_counters_are_bounded_and_an_ipv6_network_is_one() -> None:
    clock = Watch()
    counters = Counters(clock, most=100)
    for number in range(1000):
        counters.note("failed_auth", f"10.0.{number // 250}.{number % 250}")
    assert (len(counters), counters.evicted) == (100, 900)
    for number in range(300):
        counters.note("failed_auth", f"2001:db8::{number:x}")
    found = counters.of("2001:db8::ffff")
    assert found is not None
    assert found["failed_auth"] == 256
    clock.at += 3601
    assert counters.of("2001:db8::1") is None
    for _ in range(60):
        counters.note("scans", "192.0.2.1")
    assert len(counters) == 1


@pytest.mark.parametrize(
    ("status", "route", "has_key", "is_known", "counter"),
    [
        (401, "/api/x", True, False, "failed_auth"),
        (401, "", False, False, "scans"),
        (401, "/api/x", False, False, None),
        (404, "", True, True, "scans"),
        (404, "/api/x", True, True, None),
        (405, "/x", False, False, "scans"),
        (403, "/x", True, True, "denied"),
        (422, "/x", True, True, None),
    ],
)
def test_an_answer_counts_as_what_it_was(
    status: int, route: str, has_key: bool, is_known: bool, counter: str | None
) -> None:
    assert counter_of(Answered("203.0.113.7", route, status, has_key, is_known)) == counter


def test_a_policy_raises_the_mode_and_never_lowers_or_shortens_it() -> None:
    hour = NOW + timedelta(hours=1)
    elevated = rules.raised(ModeState(), "elevated", hour, NOW, "why", "policy:p")
    assert elevated is not None
    assert rules.standing(elevated, NOW).mode == "elevated"
    assert rules.standing(elevated, hour).mode == "normal"
    assert rules.raised(elevated, "elevated", hour, NOW, "", "") is None
    assert rules.raised(elevated, "elevated", hour - timedelta(minutes=30), NOW, "", "") is None
    longer = rules.raised(elevated, "elevated", hour + timedelta(minutes=5), NOW, "", "")
    assert longer is not None
    assert (longer.until, longer.reason) == (hour + timedelta(minutes=5), "why")
    lockdown = rules.raised(elevated, "lockdown", hour, NOW, "worse", "policy:q")
    assert lockdown is not None
    assert rules.raised(lockdown, "elevated", hour + timedelta(days=1), NOW, "", "") is None
    assert rules.standing(ModeState("paranoid", until=hour), NOW).mode == "lockdown"


def test_people_say_for_how_long() -> None:
    for mode, lasting in [("elevated", None), ("lockdown", timedelta(days=8)), ("normal", timedelta(hours=1))]:
        with pytest.raises(BadMode):
            rules.set_by_person(mode, lasting, NOW, "why", ADMIN)  # type: ignore[arg-type]


def test_an_address_in_a_network_whatever_its_form() -> None:
    assert in_network("::ffff:10.1.2.3", "10.0.0.0/8")
    assert not in_network("", "10.0.0.0/8")
    assert not in_network("2001:db8::1", "10.0.0.0/8")


def test_rules_of_the_blocklist_speak_the_same_language() -> None:
    holds = compile_rule('request.country == "XX" && inNetwork(request.address, "10.0.0.0/8")')
    assert holds(Facts("GET", "/", "10.1.2.3", country="XX"))
    assert not holds(Facts("GET", "/", "10.1.2.3"))
    assert not holds(Facts("GET", "/", None, country="XX"))
    assert compile_rule('principal.owner == "a" || principal.key == "k"')(Facts("GET", "/", None, "a"))
    with pytest.raises(BadCondition):
        compile_rule("request.headers.size() > 1")
