"""Subjects of events: any text becomes one token, and nothing reaches a lane that it was not meant for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kernel.ids import ALPHABET, LENGTH
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.subjects import Place

ids = st.text(alphabet=ALPHABET, min_size=LENGTH, max_size=LENGTH)
sources = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
texts = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)
places = st.builds(Place, st.none() | ids, sources, texts, texts)


@settings(max_examples=30)
@given(places)
def test_a_subject_is_read_back(place: Place) -> None:
    """What was written is read as the same place, whatever is in key and type."""
    assert subjects.parse(subjects.subject(place)) == place


@settings(max_examples=30)
@given(texts)
def test_a_token_is_one_token(text: str) -> None:
    """Nothing in a key widens, splits or ends a subject."""
    written = subjects.token(text)

    assert not set(written) & set(".*> \t\r\n$")
    assert written.isascii()


@settings(max_examples=30)
@given(texts, texts)
def test_two_texts_have_two_tokens(one: str, other: str) -> None:
    """A key cannot be written as another's token."""
    assert (subjects.token(one) == subjects.token(other)) == (one == other)


@settings(max_examples=30)
@given(st.text(max_size=40))
def test_whatever_is_read_writes_the_same(text: str) -> None:
    """A subject has one spelling: what is accepted is what would be written."""
    try:
        place = subjects.parse(text)
    except EventInvalid:
        return
    assert subjects.subject(place) == text


@settings(max_examples=30)
@given(st.text(alphabet="abs=2EF>*. 0AZ-", max_size=30))
def test_a_token_that_was_not_written_is_refused(text: str) -> None:
    """Escapes in another spelling are none."""
    with contextlib.suppress(EventInvalid):
        assert subjects.token(subjects.plain(text)) == text


@pytest.mark.parametrize(
    "bad",
    ["", "a\x00b", "a\nb", "\x7f", "\x85", "\u2028", "\ud800", "x" * 129],
    ids=["empty", "nul", "newline", "del", "c1", "line", "surrogate", "long"],
)
def test_no_token(bad: str) -> None:
    """Empty, too long and control characters are refused, and the member is named."""
    with pytest.raises(EventInvalid) as caught:
        subjects.token(bad)
    assert caught.value.extra["member"] == "key"


def test_a_lane_is_a_sandboxs_own() -> None:
    """What is no id cannot name a wider lane."""
    for wide in ("*", ">", "a.b", "", "A" * 16):
        with pytest.raises(EventInvalid):
            subjects.lane(wide)


def test_longest_subject_fits() -> None:
    """Escapes are long: both at their longest do not fit, and this is said."""
    with pytest.raises(EventInvalid):
        subjects.subject(Place(None, "a", "漢" * 128, "字" * 128))
