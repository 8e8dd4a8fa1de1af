"""The gate's decisions, for any bytes a client may send."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from valhalla.gate import rules

ANY = st.binary(max_size=300)


@given(ANY)
@example(b"a\r\nX: 1")
@example(b"x" * 129)
def test_a_correlation_id_is_always_safe_in_a_header_and_a_log(header: bytes) -> None:
    text = rules.correlation(header)

    assert re.fullmatch(r"[A-Za-z0-9._:@/+=-]{1,128}", text)
    if re.fullmatch(rb"[A-Za-z0-9._:@/+=-]{1,128}", header):
        assert text == header.decode()
    else:
        assert rules.correlation(header) != text, "a fresh one each time"


def test_without_a_header_it_is_fresh() -> None:
    assert rules.correlation(None) != rules.correlation(None)


@given(ANY)
def test_bearer_never_raises_and_bounds_what_it_returns(header: bytes) -> None:
    token = rules.bearer(header)

    assert token is None or (0 < len(token) <= 256 and header.lower().startswith(b"bearer"))


@given(st.text("abcXYZ019_-.~+/=", min_size=1, max_size=256), st.sampled_from(["Bearer", "bearer", "BEARER"]))
def test_bearer_returns_the_token(token: str, scheme: str) -> None:
    assert rules.bearer(f"{scheme} {token}".encode()) == token
    for other in (f"Basic {token}", token, f"{scheme}{token}", f"x{scheme} {token}"):
        assert rules.bearer(other.encode()) is None


def test_bearer_without_a_token() -> None:
    for header in (None, b"", b"Bearer", b"Bearer ", b"Bearer   ", b"Bearer " + b"x" * 257):
        assert rules.bearer(header) is None


def test_a_key_is_found_where_other_protocols_put_it() -> None:
    assert rules.key_in({b"x-api-key": b"vh_a"}) == rules.key_in({b"x-consul-token": b" vh_a "}) == "vh_a"
    assert rules.key_in({b"authorization": b"Bearer vh_b", b"x-api-key": b"vh_a"}) == "vh_b"
    assert rules.key_in({b"authorization": b"Basic x", b"x-api-key": b"vh_a"}) is None
    assert rules.key_in({b"x-api-key": b""}) is None
    assert rules.key_in({}) is None


@given(st.text(max_size=50))
def test_only_the_named_paths_are_public(path: str) -> None:
    assert not rules.is_public(f"/api{path}")
    assert not rules.is_public(f"/system{path}")
    assert rules.is_public(f"/problems/{path}")


def test_public_paths_are_exact() -> None:
    for path in ("/live", "/ready", "/health", "/metrics", "/docs", "/openapi.json", "/"):
        assert rules.is_public(path)
        assert path == "/" or not rules.is_public(f"{path}/")
        assert path == "/" or not rules.is_public(path.upper())
    assert not rules.is_public("")
    assert not rules.is_public("/problems")


@given(st.text(max_size=20), st.binary(max_size=20))
def test_a_nul_is_seen_wherever_it_is(path: str, query: bytes) -> None:
    assert rules.holds_nul(f"{path}\x00", query)
    assert rules.holds_nul(path, query + b"%00")
    assert rules.holds_nul(path, query + b"\x00")
    if "\x00" not in path and b"\x00" not in query and b"%00" not in query:
        assert not rules.holds_nul(path, query)


@given(ANY)
def test_a_declared_length_is_a_number_or_nothing(header: bytes) -> None:
    length = rules.declared_length(header)

    assert length is None or (length >= 0 and int(header) == length)


def test_declared_lengths() -> None:
    assert [rules.declared_length(each) for each in (b"0", b"007", b"1048576")] == [0, 7, 1_048_576]
    for header in (None, b"", b"-1", b"+1", b"1.0", b" 1", b"1_0", b"x", b"9" * 5000, b"\xd9\xa1"):
        assert rules.declared_length(header) is None
