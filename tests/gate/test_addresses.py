"""Whose address counts behind proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.gate import rules

TRUSTED = rules.networks(["10.0.0.0/8", "2001:db8::/32"])


def found(peer: str | None, **headers: str) -> str | None:
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return rules.client_address(peer, named, TRUSTED)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.9", "1.2.3.4", "192.0.2.9"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "1.2.3.4:99", "1.2.3.4"),
        ("10.0.0.1", "[2001:db9::1]:99", "2001:db9::1"),
        ("2001:db8::1", "2001:0DB9:0::1", "2001:db9::1"),
        ("10.0.0.1", "", "10.0.0.1"),
        (None, "1.2.3.4", "1.2.3.4"),
    ],
)
def test_the_nearest_hop_that_is_not_trusted(peer: str | None, forwarded: str, expected: str) -> None:
    assert found(peer, x_forwarded_for=forwarded) == expected


def test_forwarded_is_read_too_and_comes_first() -> None:
    assert found("10.0.0.1", forwarded='for=6.6.6.6;proto=https, For="[2001:db9::1]:47"') == "2001:db9::1"
    assert found("10.0.0.1", forwarded="for=1.2.3.4", x_forwarded_for="5.6.7.8") == "1.2.3.4"
    assert found("10.0.0.1", forwarded="for=_hidden", x_forwarded_for="5.6.7.8") == "10.0.0.1"


def test_nobody_is_trusted_by_default() -> None:
    assert rules.client_address("10.0.0.1", {b"x-forwarded-for": b"1.2.3.4"}, ()) == "10.0.0.1"


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_header_gives_an_address(one: bytes, other: bytes) -> None:
    address = rules.client_address("10.0.0.1", {b"forwarded": one, b"x-forwarded-for": other}, TRUSTED)
    assert address is not None
    assert rules.networks([address])
