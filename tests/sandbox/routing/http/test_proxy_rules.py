"""Whose a request is, and which headers pass: decided on values."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.cellkey import CellKey
from valhalla.kit.outgoing_guard import Base
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.http.errors import (
    LoopDetected,
    RequestRefused,
    RoutesUnknown,
    RoutingKeyRefused,
    UpstreamRefused,
)
from valhalla.sandbox.routing.http.keys import Keys, routing_key
from valhalla.sandbox.routing.http.proxy import headers as passing
from valhalla.sandbox.routing.http.proxy.contracts import Choice, Target, Terms
from valhalla.sandbox.routing.http.proxy.selecting import Selector, check_terms, known_of
from valhalla.sandbox.routing.http.upstreams.rules import LOOPBACK, Allowed
from valhalla.sandbox.routing.table import RouteTable, encode

CELL, FOREIGN = CellKey(b"c" * 32), CellKey(b"f" * 32)
A, B, GONE = "a" * 16, "b" * 16, "e" * 16
KEY_A, KEY_B = routing_key(CELL, A), routing_key(CELL, B)
KNOWN = known_of(
    iter([Target(Base("http", "127.0.0.1", 3000), A, "alpha"), Target(Base("http", "127.0.0.1", 3001), B, "beta")])
)
TERMS = Terms(headers=("x-user",))


def table(**claims: str) -> RouteTable:
    made = RouteTable()
    for number, (value, sandbox) in enumerate({"alice": A, "bob": B, "carol": GONE, **claims}.items(), 1):
        made.apply(f"rt.http.x-user={value}".replace("=", "=3D"), encode(Record("header", sandbox)), number)
    return made


def choose(
    *headers: tuple[str, str], path: str = "/x", live: bool = True, routes: RouteTable | None = None, **terms: Any
) -> Choice:
    selector = Selector(Terms(**({"headers": ("x-user",)} | terms)), Keys(CELL))
    return selector.choose(headers, path, KNOWN, routes or table(), live=live)


def whose(*headers: tuple[str, str], **more: Any) -> str | None:
    return choose(*headers, **more).sandbox


def test_a_request_is_whose_claimed_header_it_carries() -> None:
    assert whose(("X-User", "alice")) == A
    assert whose(("x-user", " bob ")) == B
    assert whose(("x-user", "dave")) is None
    assert whose(("x-user", "Alice")) is None
    assert whose() is None


def test_a_header_that_nobody_declared_decides_nothing() -> None:
    """Or whoever claims what every browser sends would have everybody's requests."""
    assert whose(("x-user", "alice"), headers=()) is None


@pytest.mark.parametrize("name", ["host", "Cookie", "accept-language", "user-agent", "a b", "", "sec-fetch-mode"])
def test_headers_of_every_request_cannot_route(name: str) -> None:
    with pytest.raises(Misconfigured):
        check_terms(Terms(headers=(name,)))
    assert check_terms(Terms(headers=("X-User",))).headers == ("x-user",)


def test_a_routing_key_opens_its_sandbox_and_no_other() -> None:
    assert whose(("Valhalla-Routing-Key", KEY_A)) == A
    assert whose(("valhalla-routing-key", KEY_B), ("x-user", "alice")) == B
    for wrong in (KEY_A[:-1] + "a", "x", "", routing_key(FOREIGN, A), KEY_A[:22] + KEY_B[22:], "\u00e9"):
        with pytest.raises(RoutingKeyRefused):
            whose(("valhalla-routing-key", wrong))
    with pytest.raises(RequestRefused):
        whose(("valhalla-routing-key", KEY_A), ("valhalla-routing-key", KEY_B))


@pytest.mark.parametrize(
    ("baggage", "sandbox", "why"),
    [
        (f"valhalla-sandbox=alpha;key={KEY_A}", A, None),
        (f"a=b, valhalla-sandbox = alpha ; p ; key = {KEY_A} ,c=d", A, None),
        (f"valhalla-sandbox={A};key={KEY_A}", A, None),
        ("valhalla-sandbox=alpha", None, "unproven"),
        ("valhalla-sandbox=nobody", None, "unproven"),
        (f"valhalla-sandbox=alpha;key={routing_key(FOREIGN, A)}", None, "unproven"),
        ("valhalla-sandbox=alpha;key=x", None, "unproven"),
        (f"valhalla-sandbox=x;key={routing_key(CELL, GONE)}", None, "ended"),
        (f"valhalla-sandboxes=alpha;key={KEY_A}", None, None),
        ("", None, None),
    ],
    ids=["proven", "among", "by id", "no key", "unknown", "another's", "none at all", "ended", "alike", "empty"],
)  # fmt: skip
def test_baggage_counts_with_its_key(baggage: str, sandbox: str | None, why: str | None) -> None:
    """A stranger who writes a name into baggage is served as if it were not there, whether there is such a name."""
    choice = choose(("baggage", baggage))
    assert (choice.sandbox, choice.why) == (sandbox, why)


def test_a_wrong_key_of_ours_is_refused() -> None:
    """Whoever has one wants no other side to see the request."""
    for wrong in (f"alpha;key={KEY_A[:-1]}a", f"alpha;key={KEY_B}"):
        with pytest.raises(RoutingKeyRefused):
            whose(("baggage", f"valhalla-sandbox={wrong}"))
    with pytest.raises(RequestRefused):
        whose(("baggage", f"valhalla-sandbox=alpha;key={KEY_A}"), ("baggage", f"valhalla-sandbox=beta;key={KEY_B}"))


def test_names_count_where_the_operator_says_so() -> None:
    assert whose(("baggage", "valhalla-sandbox=alpha"), trust_names=True) == A
    assert whose(path="/.valhalla/beta/x", trust_names=True) == B
    assert choose(("baggage", "valhalla-sandbox=nobody"), trust_names=True).why == "unproven"
    with pytest.raises(RoutingKeyRefused):
        whose(path="/.valhalla/nobody/x", trust_names=True)


@pytest.mark.parametrize(
    ("path", "onward"),
    [("/a/b?c=d", "/a/b?c=d"), ("", "/"), ("/", "/"), ("?a=b", "/?a=b"), ("//evil.example/", "//evil.example/")],
    ids=["a path", "nothing", "a slash", "a query", "two slashes"],
)
def test_a_key_in_the_path_is_cut_off(path: str, onward: str) -> None:
    choice = choose(path=f"/.valhalla/{KEY_A}{path}")
    assert (choice.sandbox, choice.path) == (A, onward)
    with pytest.raises(RoutingKeyRefused):
        choose(path=f"/.valhalla/alpha{path}")


def test_an_ended_sandbox_has_no_requests() -> None:
    gone = routing_key(CELL, GONE)
    assert choose(("valhalla-routing-key", gone)).why == "ended"
    refused = choose(("valhalla-routing-key", gone), ended="refuse")
    assert (refused.sandbox, refused.target) == (GONE, None)


def test_a_sandbox_without_upstream_does_not_fall_through() -> None:
    """Unless the operator says so, and then it says that it did."""
    choice = choose(("x-user", "carol"))
    assert (choice.sandbox, choice.target) == (GONE, None)
    assert choose(("x-user", "carol"), down="production").why == "no-upstream"


def test_while_routes_are_unknown_a_claimed_request_waits() -> None:
    """Production goes on for what nobody had claimed, or waits too, as the operator says."""
    with pytest.raises(RoutesUnknown):
        whose(("x-user", "alice"), live=False)
    assert whose(("x-user", "dave"), live=False) is None
    with pytest.raises(RoutesUnknown):
        whose(("x-user", "dave"), live=False, blind="refuse")
    # a key is its own proof
    assert whose(("valhalla-routing-key", KEY_A), live=False) == A
    held = table()
    held.apply("rt.http.x-user=3Ddave", encode(Record("header", None, held=True)), 99)
    with pytest.raises(RoutesUnknown):
        whose(("x-user", "dave"), routes=held)


def test_a_mirrored_header_stays_productions() -> None:
    mirrored = table()
    mirrored.apply("rt.http.x-user=3Ddave", encode(Record("header", A, mode="mirror")), 99)
    assert whose(("x-user", "dave"), routes=mirrored) is None


names = st.sampled_from(["x-user", "X-User", "x_user", "baggage", "valhalla-routing-key", "Connection", "Host", "a"])
values = st.sampled_from(["alice", "bob", KEY_A, f"valhalla-sandbox=alpha;key={KEY_A}", "x-user, close", "", "dave"])


@settings(max_examples=150)
@given(st.lists(st.tuples(names, values), max_size=5))
def test_nobody_is_sent_where_nothing_says_so(headers: list[tuple[str, str]]) -> None:
    """Whatever comes in whatever order: a sandbox needs its key or its claimed value, and exactly one reading."""
    try:
        passing.check(headers, TERMS.headers)
        choice = choose(*headers)
    except (RequestRefused, RoutingKeyRefused):
        return
    text = " ".join(value for _, value in headers)
    exact = [value for name, value in headers if name.lower() == "x-user"]
    assert choice.sandbox in {None, A, B}
    if choice.sandbox == A:
        assert KEY_A in text or exact == ["alice"]
    if choice.sandbox == B:
        assert exact == ["bob"]
    if not any(KEY_A in value for _, value in headers) and exact == ["alice"]:
        assert choice.sandbox == A


@pytest.mark.parametrize(
    "headers",
    [
        [("x-user", "alice"), ("X-User", "bob")],
        [("x_user", "alice")],
        [("X-User", "dave"), ("x_user", "alice")],
        [("Connection", "close, X-User"), ("x-user", "alice")],
        [("Connection", "host")],
        [("host", "a"), ("Host", "b")],
        [("a", "caf\udce9")],
    ],
    ids=["twice", "underscore", "both", "hop-by-hop", "no host", "two hosts", "no UTF-8"],
)
def test_what_can_be_read_in_two_ways_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestRefused):
        passing.check(headers, ("x-user",))


def sent(*headers: tuple[str, str], **more: Any) -> dict[str, str]:
    told = {"peer": "203.0.113.9", "trusted": False, "scheme": "https", "via": "valhalla-x"} | more
    pairs = passing.onward([("Host", "shop.example"), *headers], **told)
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return {name.lower(): value for name, value in pairs}


def test_what_is_between_two_hops_ends_there() -> None:
    found = sent(
        ("Connection", "keep-alive, X-Secret"), ("X-Secret", "1"), ("Keep-Alive", "5"), ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("Proxy-Authorization", "x"), ("Expect", "100-continue"),
        ("Valhalla-Routing-Key", KEY_A), ("traceparent", "00-x"), ("baggage", "a=b"), ("Cookie", "c=d"),
    )  # fmt: skip
    assert found == {
        "host": "shop.example", "traceparent": "00-x", "baggage": "a=b", "cookie": "c=d",
        "x-forwarded-for": "203.0.113.9", "x-forwarded-host": "shop.example", "x-forwarded-proto": "https",
        "via": "1.1 valhalla-x",
    }  # fmt: skip


def test_where_a_request_came_from_is_told_by_who_is_trusted() -> None:
    given = (
        ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil"),
        ("Forwarded", "for=1.1.1.1"), ("X-Real-IP", "1.1.1.1"), ("X-Forwarded-Port", "1"), ("Via", "1.0 edge"),
    )  # fmt: skip
    stranger, edge = sent(*given), sent(*given, trusted=True)
    assert stranger["x-forwarded-for"] == "203.0.113.9"
    assert (stranger["x-forwarded-proto"], stranger["x-forwarded-host"]) == ("https", "shop.example")
    assert not {"forwarded", "x-real-ip", "x-forwarded-port"} & stranger.keys()
    assert edge["x-forwarded-for"] == "1.1.1.1, 203.0.113.9"
    assert (edge["x-forwarded-proto"], edge["x-forwarded-host"]) == ("http", "evil")
    assert (edge["forwarded"], edge["x-real-ip"], edge["via"]) == ("for=1.1.1.1", "1.1.1.1", "1.0 edge, 1.1 valhalla-x")
    assert sent(host="10.0.0.1:80")["host"] == "10.0.0.1:80"


def test_a_request_that_comes_back_is_ended() -> None:
    with pytest.raises(LoopDetected):
        sent(("via", "1.1 valhalla-x, 1.1 other"))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("93.184.216.34", True), ("10.0.0.1", False),
        ("169.254.169.254", False), ("::ffff:169.254.169.254", False), ("64:ff9b::a9fe:a9fe", False),
        ("fd00:ec2::254", False), ("168.63.129.16", False), ("0.0.0.0", False), ("100.100.100.200", False),
    ],
    ids=["loopback", "6", "mapped", "public", "private", "metadata", "mapped metadata", "translated metadata",
         "metadata 6", "azure", "any", "alibaba"],
)  # fmt: skip
def test_addresses_of_upstreams(address: str, allowed: bool) -> None:
    assert Allowed.of(None, loopback=True).allows(ipaddress.ip_address(address)) is allowed


def test_no_setting_opens_where_clouds_keep_credentials() -> None:
    everything = Allowed.of(["0.0.0.0/0", "::/0"], loopback=True)
    assert everything.allows(ipaddress.ip_address("10.0.0.1"))
    assert not everything.allows(ipaddress.ip_address("169.254.169.254"))
    assert not Allowed.of(None, loopback=False).allows(ipaddress.ip_address("127.0.0.1"))
    assert not Allowed.of([], loopback=True).allows(ipaddress.ip_address("127.0.0.1"))
    assert Allowed.of(LOOPBACK, loopback=False).base("http://127.0.0.1:3000/app/").path == "/app"
    with pytest.raises(UpstreamRefused):
        everything.base("http://169.254.169.254")
