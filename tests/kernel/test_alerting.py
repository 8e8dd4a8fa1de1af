"""Severities are ordered, fingerprints group what is the same, patterns mean what they say."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel import alerting
from valhalla.kernel.alerting import SEVERITIES, Pattern, check_severity, fingerprint, reaches, shape, worse
from valhalla.kernel.problems import Invalid


def test_severities_go_from_info_to_critical() -> None:
    for low, high in pairwise(SEVERITIES):
        assert reaches(high, low)
        assert not reaches(low, high)
        assert worse(low, high) == worse(high, low) == high
    assert [alerting.rank(severity) for severity in SEVERITIES] == [0, 1, 2, 3]


@pytest.mark.parametrize("value", ["", "fatal", "Info", None, 3, ["info"]])
def test_anything_else_is_no_severity(value: object) -> None:
    with pytest.raises(Invalid, match="severity"):
        check_severity(value)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4), st.text(max_size=8))
def test_the_order_of_labels_makes_no_difference(labels: dict[str, str], name: str) -> None:
    assert fingerprint(name, labels) == fingerprint(name, dict(reversed(labels.items())))
    assert fingerprint(name, labels) != fingerprint(name + "x", labels)


def test_parts_cannot_flow_into_each_other() -> None:
    prints = {
        fingerprint("ab"),
        fingerprint("a", {"b": ""}),
        fingerprint("a", {"": "b"}),
        fingerprint("a", {"b": "cd"}),
        fingerprint("a", {"bc": "d"}),
        fingerprint("a", {"b": "c", "d": ""}),
    }
    assert len(prints) == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 12345 failed", "order 99999 failed"),
        ("job 3f2b8c1e-0000-4000-8000-0123456789ab died", "job aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee died"),
        ("sandbox abcdefgh12345678 failed", "sandbox zyxwvuts87654321 failed"),
        ("timeout after 10012 ms", "timeout after 10444 ms"),
    ],
)
def test_ids_and_long_numbers_make_no_difference(one: str, other: str) -> None:
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("disk 1 is full", "disk 2 is full"), ("connection refused", "connection reset"), ("HTTP 502", "HTTP 404")],
)
def test_words_and_short_numbers_do(one: str, other: str) -> None:
    assert shape(one) != shape(other)


@given(st.text("ab.*", min_size=1, max_size=8), st.text("ab.", max_size=8))
def test_a_pattern_is_the_regular_expression_that_it_looks_like(pattern: str, name: str) -> None:
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None
    assert Pattern(pattern).matches(name) is expected


@pytest.mark.parametrize("text", ["", "x" * 201])
def test_a_pattern_has_a_length(text: str) -> None:
    with pytest.raises(Invalid):
        Pattern(text)
