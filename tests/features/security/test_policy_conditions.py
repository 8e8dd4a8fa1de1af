"""Conditions of policies: what they see, what they may be, and what they say when they fail."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.security.policies import ADMIN, asked, policy, said

from valhalla.features.security.blocklist import Facts
from valhalla.features.security.policies import compile_rule
from valhalla.features.security.policies.book import Book
from valhalla.features.security.policies.conditions import Condition, in_network
from valhalla.features.security.policies.contracts import Request
from valhalla.features.security.policies.errors import BadCondition


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
