"""Keys as pure values: what is minted verifies, whatever else is sent does not, and nothing raises."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.clients import rules
from valhalla.features.operations.clients.contracts import ApiClient
from valhalla.kernel.ids import ALPHABET
from valhalla.kernel.principal import Principal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = st.text(ALPHABET, min_size=16, max_size=16)
ENVIRONMENTS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def client(client_id: str, key: str, **changes: object) -> ApiClient:
    made = ApiClient(client_id, "n", "team", ("sandbox:read",), rules.digest(key), key[:13], "system", NOW)
    return msgspec.structs.replace(made, **changes)


@given(IDS, ENVIRONMENTS)
def test_what_is_minted_verifies(client_id: str, environment: str) -> None:
    key = rules.mint(client_id, environment)

    assert key.startswith(f"vh_{environment}_{client_id}")
    assert rules.client_id_of(key) == client_id
    assert rules.mint(client_id, environment) != key
    principal = rules.authenticate(key, {client_id: client(client_id, key)}, lambda: NOW)
    assert principal == Principal(client_id, "team", frozenset({"sandbox:read"}))


@given(IDS, st.data())
def test_any_changed_character_is_refused(client_id: str, data: st.DataObject) -> None:
    key = rules.mint(client_id, "local")
    where = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.one_of(st.sampled_from(BASE62 + "_"), st.characters()).filter(lambda c: c != key[where]))

    assert rules.client_id_of(key[:where] + other + key[where + 1 :]) is None


@given(IDS, st.data())
def test_a_swap_a_cut_and_an_addition_are_refused(client_id: str, data: st.DataObject) -> None:
    key = rules.mint(client_id, "local")
    where = data.draw(st.integers(0, len(key) - 2))

    swapped = key[:where] + key[where + 1] + key[where] + key[where + 2 :]
    assert swapped == key or rules.client_id_of(swapped) is None
    assert rules.client_id_of(key[:where]) is None
    assert rules.client_id_of(key + data.draw(st.characters())) is None
    assert rules.client_id_of(data.draw(st.characters()) + key) is None


@given(st.one_of(st.text(max_size=300), st.from_regex(r"vh_[a-z]{1,12}_[a-z0-9]{16}[0-9A-Za-z]{38}", fullmatch=True)))
def test_garbage_is_refused_and_never_raises(key: str) -> None:
    assert rules.authenticate(key, {}, lambda: NOW) is None
    if rules.client_id_of(key) is not None:
        # a checksum that happens to fit (1 in 2^32) still finds nobody
        assert rules.authenticate(key, {key[3:19]: client("x" * 16, "another")}, lambda: NOW) is None


@given(IDS, IDS)
def test_a_well_formed_key_of_somebody_else_is_refused(mine: str, theirs: str) -> None:
    key, other = rules.mint(mine, "local"), rules.mint(mine, "local")

    assert rules.authenticate(other, {mine: client(mine, key)}, lambda: NOW) is None
    assert rules.authenticate(key, {theirs: client(theirs, other)}, lambda: NOW) is None


@given(IDS, st.integers(-10, 10))
def test_a_key_ends_at_its_expiry(client_id: str, seconds: int) -> None:
    key = rules.mint(client_id, "local")
    clients = {client_id: client(client_id, key, expires_at=NOW + timedelta(seconds=seconds))}

    assert (rules.authenticate(key, clients, lambda: NOW) is not None) == (seconds > 0)


@given(st.sets(st.sampled_from(["sandbox:read", "sandbox:write", "audit:read", "admin"])), st.text(max_size=20))
def test_a_scope_is_held_or_not(scopes: set[str], other: str) -> None:
    principal = Principal("id", "team", frozenset(scopes))

    for scope in ("sandbox:read", "sandbox:write", "audit:read", "admin"):
        implied = scope in scopes or "admin" in scopes or (scope == "sandbox:read" and "sandbox:write" in scopes)
        assert principal.allows(scope) == implied
    assert replace(principal, scopes=frozenset()).allows(other) is False
