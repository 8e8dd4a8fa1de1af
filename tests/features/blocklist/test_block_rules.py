"""Rules of the blocklist: one form each, for which requests they hold, lists of others, durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.security.blocklist import rules
from valhalla.features.security.blocklist.contracts import BlockRule, Facts, RuleType
from valhalla.features.security.blocklist.errors import BadRule
from valhalla.features.security.blocklist.importing import Given, parse
from valhalla.features.security.blocklist.matching import Index, decide
from valhalla.features.security.blocklist.rules import go_duration, made, parse_duration, stronger
from valhalla.kernel.problems import Invalid

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def index(*given: tuple[RuleType, str], allow: tuple[tuple[RuleType, str], ...] = ()) -> Index:
    """An index of blocking and allowing rules; a condition holds for the method it names."""
    made_index = Index(lambda text: lambda facts: facts.method == text)
    for kind, value in given:
        made_index.put("block", *rules.canonical(kind, value))
    for kind, value in allow:
        made_index.put("allow", *rules.canonical(kind, value))
    return made_index


@pytest.mark.parametrize(
    ("kind", "value", "canonical"),
    [
        ("ip", " 203.0.113.7 ", ("ip", "203.0.113.7")),
        ("ip", "::FFFF:203.0.113.7", ("ip", "203.0.113.7")),
        ("ip", "2001:DB8:0::1", ("ip", "2001:db8::1")),
        ("cidr", "203.0.113.7/32", ("ip", "203.0.113.7")),
        ("cidr", "10.0.0.0/255.0.0.0", ("cidr", "10.0.0.0/8")),
        ("cidr", "10.0.0.0-10.0.0.255", ("cidr", "10.0.0.0/24")),
        ("cidr", "::ffff:10.0.0.0/104", ("cidr", "10.0.0.0/8")),
        ("country", " de", ("country", "DE")),
        ("asn", "as064500", ("asn", "64500")),
        ("user_agent", "*SqlMap*", ("user_agent", "*sqlmap*")),
        ("path", "/wp-*", ("path", "/wp-*")),
    ],
    ids=range(11),
)
def test_a_value_has_one_form(kind: RuleType, value: str, canonical: tuple[str, str]) -> None:
    assert rules.canonical(kind, value) == canonical
    assert rules.canonical(*rules.canonical(kind, value)) == canonical


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ip", "10.0.0.0/8"), ("ip", "fe80::1%eth0"), ("ip", "010.0.0.1"), ("ip", ""), ("cidr", "10.0.0.1/8"),
        ("cidr", "10.0.0.9-10.0.0.1"), ("cidr", "10.0.0.1-10.0.0.3"), ("cidr", "10.0.0.1-::5"), ("country", "DEU"),
        ("asn", "0"), ("asn", "4294967296"), ("path", "wp"), ("path", "/a*b"), ("user_agent", "**"),
        ("user_agent", "*a" * 9), ("principal", "a\x00b"), ("cel", " "),
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_no_value_is_refused(kind: RuleType, value: str) -> None:
    with pytest.raises(BadRule):
        rules.canonical(kind, value)


@given(st.sampled_from(["ip", "cidr", "country", "asn", "path", "user_agent", "principal", "cel"]), st.text())
def test_no_text_breaks_it(kind: RuleType, value: str) -> None:
    try:
        found = rules.canonical(kind, value)
    except BadRule:
        return
    assert rules.canonical(*found) == found
    key = rules.key_of("block", *found)
    assert len(key) < 256
    parts = rules.parts_of(key)
    assert parts is None or parts == ("block", *found)


def test_a_rule_of_each_type_holds_for_what_it_names() -> None:
    facts = Facts("GET", "/wp-login.php", "198.51.100.4", "acme", "k1", "Mozilla/5.0 sqlmap/1.8", "DE", 64500)
    named: list[tuple[RuleType, str]] = [
        ("ip", "198.51.100.4"), ("cidr", "198.51.100.0/24"), ("principal", "acme"), ("api_key", "k1"),
        ("user_agent", "*SQLMAP*"), ("country", "de"), ("asn", "AS64500"), ("path", "/wp-*"),
        ("path", "/wp-login.php"), ("cel", "GET"),
    ]  # fmt: skip
    for kind, value in named:
        verdict = decide(index((kind, value)), facts, 0)
        assert verdict is not None, kind
        assert verdict.key == rules.key_of("block", *rules.canonical(kind, value))
        assert decide(index((kind, value), allow=(("principal", "acme"),)), facts, 0) is None
        assert decide(index((kind, value)), Facts("POST", "/", None), 0) is None
    other = index(("ip", "198.51.100.5"), ("user_agent", "sqlmap/2*"), ("path", "/wp"), ("country", "FR"), ("asn", "1"))
    assert decide(other, facts, 0) is None


def test_the_smallest_network_that_still_holds_is_named() -> None:
    both = Index()
    both.put("block", "cidr", "198.51.100.0/24")
    both.put("block", "ip", "198.51.100.4", until=10)
    facts = Facts("GET", "/", "::ffff:198.51.100.4")
    assert decide(both, facts, 9.9) == ("ip:198.51.100.4", "ip")
    assert decide(both, facts, 10) == ("cidr:198.51.100.0/24", "cidr")
    both.remove("block", "cidr", "198.51.100.0/24")
    assert decide(both, facts, 10) is None
    assert len(both.blocked) == 1


def test_two_rules_of_one_value_stand_as_the_stronger() -> None:
    _, old = made("ip", "192.0.2.1", reason="old", severity="critical", expires_at=NOW)
    _, new = made("ip", "192.0.2.1", reason="new", remediation="captcha", expires_at=NOW + timedelta(hours=1))
    both = stronger(old, new)
    assert (both.reason, both.severity, both.remediation, both.expires_at) == ("new", "critical", "ban", new.expires_at)
    assert stronger(both, old) == both
    assert stronger(BlockRule("ip", "192.0.2.1"), new).expires_at is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("3h59m59.5s", 14399.5), ("-1m0s", -60), ("0", 0), ("168h0m0s", 604800), ("1.5h", 5400),
     ("7d", 604800), ("250ms", 0.25), ("1us", 1e-6), ("+5s", 5)],
    ids=range(10),
)  # fmt: skip
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "4", "4 h", "1h-5m", "--5s", "1e5s", "∞", "9" * 30 + "h"], ids=range(9))
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadRule):
        parse_duration(text)


@given(st.integers(-(10**7), 10**8))
def test_durations_come_back(seconds: int) -> None:
    assert parse_duration(go_duration(seconds)) == seconds


def test_go_writes_units_from_the_first_that_counts() -> None:
    assert [go_duration(n) for n in (0, 45, 60, 14399, -60)] == ["0s", "45s", "1m0s", "3h59m59s", "-1m0s"]


@given(st.text(max_size=300))
def test_no_list_breaks_the_reader(text: str) -> None:
    for form in ("plain", "csv", "crowdsec"):
        try:
            parsed = parse(text, Given(), NOW, form)
        except Invalid:
            continue
        assert all(rules.check(rule) is None for rule in parsed.rules.values())


def test_lists_say_what_was_no_rule() -> None:
    text = "203.0.113.9\n; note\n  2001:db8::/32 # why\n203.0.113.9\n1.2.3.4/8\n5.6.7.1-5.6.7.6\n"
    parsed = parse(text, Given(source="feed"), NOW)
    assert sorted(parsed.rules) == [
        "cidr:2001:db8::/32", "cidr:5.6.7.2/31", "cidr:5.6.7.4/31", "ip:203.0.113.9", "ip:5.6.7.1", "ip:5.6.7.6",
    ]  # fmt: skip
    assert [(line, told) for line, told, _ in parsed.rejections] == [(5, "1.2.3.4/8")]


def test_decisions_are_read_in_every_shape_that_there_is() -> None:
    decision: dict[str, Any] = {"scope": "Range", "value": "203.0.113.9/24", "duration": "1h", "scenario": "x/y"}
    import json

    for document in ([decision], {"new": [decision], "deleted": []}, [{"id": 1, "decisions": [decision]}]):
        parsed = parse(json.dumps(document), Given(), NOW)
        (rule,) = parsed.rules.values()
        assert (rule.value, rule.reason, rule.expires_at) == ("203.0.113.0/24", "x/y", NOW + timedelta(hours=1))
