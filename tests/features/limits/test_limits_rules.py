"""Rules of rate limits as pure values: what can be written, whom a rule counts, and where."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.limits import rules
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.errors import BadRule
from valhalla.features.operations.limits.rules import Request
from valhalla.guard.governor import BadLimit, Limit

ASKED = Request("POST", "/api/sandboxes/abc", "/api/sandboxes/{ref}", "10.1.2.3", "ada", "k1")


@pytest.mark.parametrize(
    "members",
    [
        {"rate": "-1/minute"},
        {"rate": "0/minute"},
        {"rate": "10/0s"},
        {"rate": "1.5/s"},
        {"rate": "99999999999/day"},
        {"rate": "1000000000/ms"},
        {"rate": "many"},
        {"rate": "10/fortnight"},
        {"rate": "1" * 300},
        {"rate": "1/20 y"},
        {"rate": "10/min", "burst": 0},
        {"rate": "10/min", "burst": 11},
        {"rate": "10/min", "burst": 5, "kind": "exact"},
        {"rate": "2000000/day", "kind": "exact"},
        {"rate": "10/min", "costs": {"/x": 0}},
        {"rate": "10/min", "costs": {"/x": 6}},
        {"rate": "10/min", "costs": {"x": 1}},
        {"rate": "10/min", "routes": ["/a*b"]},
        {"rate": "10/min", "routes": ["FETCH /a"]},
        {"rate": "10/min", "routes": ["/a\n"]},
        {"rate": "10/min", "scope": "ip", "subjects": ["10.0.0.1/8"]},
        {"rate": "10/min", "scope": "ip", "subjects": ["somewhere"]},
        {"rate": "10/min", "scope": "global", "subjects": ["ada"]},
        {"rate": "10/min", "subjects": ["a\x00"]},
        {"rate": "10/min", "strict": True},
        {"rate": "10/min", "kind": "exact", "count": "fleet"},
        {"rate": "10/min", "name": "1st"},
        {"rate": "10/min", "name": "a" * 64},
    ],
    ids=repr,
)
def test_what_nobody_could_mean_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(BadRule):
        rules.check(msgspec.structs.replace(LimitRule("name", "10/min"), **members))


@given(
    st.from_regex(r"-?[0-9]{1,11} ?(/|per) ?[0-9.]{0,4} ?(ms|s|min|hours|d|week|x)", fullmatch=True)
    | st.text(max_size=20)
)
def test_a_rate_is_read_as_the_governor_reads_it(text: str) -> None:
    """The rules' reader and the governor's are two: a rule that is stored must be enforceable."""
    try:
        rate = rules.parse_rate(text)
    except BadRule:
        with pytest.raises(BadLimit):
            Limit.parse(text, kind="gcra")
    else:
        limit = Limit.parse(text, kind="gcra")
        assert (rate.capacity, rate.window) == (limit.capacity, limit.window)


ADDRESSES = st.ip_addresses()


@given(ADDRESSES, ADDRESSES)
def test_addresses_share_a_bucket_as_customers_share_a_network(one: Any, other: Any) -> None:
    def network(address: Any) -> Any:
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return ipaddress.ip_network((address, 64), strict=False) if address.version == 6 else address

    assert (rules.bucket_of(str(one)) == rules.bucket_of(str(other))) == (network(one) == network(other))
    assert rules.bucket_of(rules.bucket_of(str(one)) or "") in (None, rules.bucket_of(str(one)))


@given(ADDRESSES, st.integers(0, 32), st.text(max_size=10))
def test_a_rule_for_networks_counts_those_in_them(address: Any, length: int, nonsense: str) -> None:
    home = str(ipaddress.ip_network((address, length), strict=False))
    mapped = getattr(address, "ipv4_mapped", None) is not None
    rule = LimitRule("n", "10/min", scope="ip", subjects=(home,))
    rules.check(rule)

    def counts(text: str | None) -> bool:
        return rules.subject_of(rule, Request("GET", "/", "/", text, None, None)) is not None

    assert counts(str(address)) == (not mapped)
    assert not counts(None)
    assert counts(nonsense) is False or rules.bucket_of(nonsense) is not None


@pytest.mark.parametrize(
    ("rule", "subject"),
    [
        ({"scope": "global"}, ""),
        ({"scope": "ip"}, "10.1.2.3"),
        ({"scope": "principal"}, "ada"),
        ({"scope": "key"}, "k1"),
        ({"scope": "route"}, "POST /api/sandboxes/{ref}"),
        ({"scope": "key", "subjects": ("k1", "k2")}, "k1"),
        ({"scope": "key", "subjects": ("k2",)}, None),
        ({"scope": "principal", "subjects": ("bob",)}, None),
        ({"scope": "key", "routes": ("/api/*",)}, "k1"),
        ({"scope": "key", "routes": ("GET /api/*",)}, None),
        ({"scope": "key", "routes": ("/other", "POST /api/sandboxes/{ref}")}, "k1"),
        ({"scope": "key", "routes": ("/api/sandboxes/abc",)}, "k1"),
        ({"scope": "key", "routes": ("/api/sandboxes",)}, None),
    ],
    ids=repr,
)
def test_whom_a_rule_counts(rule: dict[str, Any], subject: str | None) -> None:
    assert rules.subject_of(LimitRule("n", "10/min", **rule), ASKED) == subject
    nobody = Request("POST", "/api/sandboxes/abc", "/api/sandboxes/{ref}", None, None, None)
    if rule["scope"] in ("ip", "principal", "key"):
        assert rules.subject_of(LimitRule("n", "10/min", **rule), nobody) is None


def test_costs() -> None:
    rule = LimitRule("n", "100/min", costs={"/api/*": 2, "POST /api/sandboxes/*": 7, "GET /api/*": 9})
    assert rules.cost_of(rule, ASKED) == 7
    assert rules.cost_of(LimitRule("n", "100/min"), ASKED) == 1
