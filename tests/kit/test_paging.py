"""Cursors come back as they were, and nothing else is accepted for one."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel.problems import Invalid
from valhalla.kit import paging

positions = st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(-(2**63), 2**63 - 1), max_size=4)


@given(positions)
def test_a_cursor_comes_back(position: dict[str, Any]) -> None:
    """Encode and decode are inverse, and the form is safe in a URL."""
    cursor = paging.encode(position)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert paging.decode(cursor) == position


@given(st.text(max_size=100))
def test_no_text_breaks_the_decoder(cursor: str) -> None:
    """Any text is a position, the beginning, or a refusal that names the parameter."""
    try:
        position = paging.decode(cursor)
    except Invalid as problem:
        position = {"named": problem.extra["parameter"]}
        cursor = paging.encode({"named": "cursor"})
    assert position == paging.decode(cursor)


@pytest.mark.parametrize("cursor", ["!", "a", "bnVsbA", "WzFd", "é", "x" * 5000, "eyJhIjox"])
def test_foreign_cursors_are_refused(cursor: str) -> None:
    """Not base64, not JSON, not an object, too long, cut."""
    with pytest.raises(Invalid, match="cursor"):
        paging.decode(cursor)


def test_no_cursor_is_the_beginning() -> None:
    """Absent and empty alike."""
    assert paging.decode(None) is None
    assert paging.decode("") is None


@pytest.mark.parametrize(("limit", "size"), [(None, 50), (0, 1), (-5, 1), (1, 1), (200, 200), (201, 200), (10**9, 200)])
def test_limits_are_bounded(limit: int | None, size: int) -> None:
    """1 to 200, 50 by default."""
    assert paging.clamp(limit) == size


def test_members_have_types() -> None:
    """A forged cursor with the right shape but the wrong types is refused, not passed to the database."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    position = {"n": 5, "t": "x", "at": at.isoformat(), "naive": "2026-01-01T00:00:00", "big": 2**63, "b": True}
    assert (paging.integer(position, "n"), paging.text(position, "t"), paging.instant(position, "at")) == (5, "x", at)
    for read, name in (
        (paging.integer, "t"), (paging.integer, "big"), (paging.integer, "b"), (paging.integer, "none"),
        (paging.text, "n"), (paging.text, "none"), (paging.instant, "t"), (paging.instant, "naive"),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            read(position, name)
    nul = base64.urlsafe_b64encode(b'{"t":"a\\u0000"}').decode()
    with pytest.raises(Invalid):
        paging.text(paging.decode(nul) or {}, "t")
