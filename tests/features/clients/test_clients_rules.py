"""Keys as pure values: what is minted verifies, whatever else is sent does not, and nothing raises."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.clients import networks, rules
from valhalla.features.operations.clients.contracts import ApiClient, Retired
from valhalla.kernel.ids import ALPHABET
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kernel.scopes import ROLES, SCOPES, is_scope, scopes_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = st.text(ALPHABET, min_size=16, max_size=16)
ENVIRONMENTS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def client(client_id: str, key: str, **changes: object) -> ApiClient:
    made = ApiClient(client_id, "n", "team", ("sandbox:read",), rules.digest(key), key[:13], "system", NOW)
    return msgspec.structs.replace(made, **changes)


def authenticate(key: str, *clients: ApiClient, now: datetime = NOW, environment: str = "local") -> Principal | None:
    """Return whose key it is, by the clients of one snapshot."""
    lease = rules.lease_of(key, rules.leases_of(clients, environment), environment, now)
    return None if lease is None else lease.principal


@given(IDS, ENVIRONMENTS)
def test_what_is_minted_verifies(client_id: str, environment: str) -> None:
    key = rules.mint(client_id, environment)

    assert key.startswith(f"vh_{environment}_{client_id}")
    assert rules.client_id_of(key) == client_id
    assert rules.mint(client_id, environment) != key
    assert key.startswith(rules.prefix(key))
    assert len(rules.prefix(key)) == len(f"vh_{environment}_") + 4
    principal = authenticate(key, client(client_id, key, environment=environment), environment=environment)
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
    # a checksum that happens to fit (1 in 2^32) still finds nobody
    assert authenticate(key, client("x" * 16, "another")) is None


@given(IDS, IDS)
def test_a_well_formed_key_of_somebody_else_is_refused(mine: str, theirs: str) -> None:
    key, other = rules.mint(mine, "local"), rules.mint(mine, "local")

    assert authenticate(other, client(mine, key)) is None
    assert authenticate(key, client(theirs, other)) is None


@given(IDS, st.integers(-10, 10))
def test_a_key_ends_at_its_expiry(client_id: str, seconds: int) -> None:
    key = rules.mint(client_id, "local")
    made = client(client_id, key, expires_at=NOW + timedelta(seconds=seconds))

    assert (authenticate(key, made) is not None) == (seconds > 0)


@given(IDS, st.integers(-10, 10), st.integers(-10, 10))
def test_an_old_key_is_taken_until_its_overlap_or_the_client_ends(client_id: str, overlap: int, expiry: int) -> None:
    old, new = rules.mint(client_id, "local"), rules.mint(client_id, "local")
    made = client(
        client_id,
        new,
        retired=(Retired(rules.digest(old), NOW + timedelta(seconds=overlap)),),
        expires_at=NOW + timedelta(seconds=expiry),
    )

    assert (authenticate(new, made) is not None) == (expiry > 0)
    assert (authenticate(old, made) is not None) == (overlap > 0 and expiry > 0)


@given(IDS, ENVIRONMENTS, ENVIRONMENTS)
def test_a_key_of_another_environment_is_refused(client_id: str, home: str, other: str) -> None:
    key = rules.mint(client_id, home)
    made = client(client_id, key, environment=home)

    assert (authenticate(key, made, environment=other) is not None) == (home == other)
    assert authenticate(key, client(client_id, key, environment=home, active=False), environment=home) is None


# an IPv4 address that is mapped into IPv6 is the IPv4 address: it is in no network of IPv6
@given(st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None), st.integers(0, 128))
def test_an_address_is_in_the_networks_that_hold_it(address: object, length: int) -> None:
    width = 32 if "." in str(address) else 128
    text = f"{address}/{min(length, width)}"
    home = str(ipaddress.ip_network(text, strict=False))
    [network] = networks.networks([home, home])
    assert networks.holds([network], str(address))
    assert not networks.holds([network], None)
    assert not networks.holds([], str(address))
    if width == 32:
        assert networks.holds([network], f"::ffff:{address}")
        assert networks.networks([f"::ffff:{home.partition('/')[0]}/{96 + network.prefixlen}"]) == (network,)
    if str(network.network_address) != str(address):
        with pytest.raises(Invalid):
            networks.network(text)


@given(st.text(max_size=30))
def test_any_text_is_a_network_or_refused(text: str) -> None:
    assert networks.holds([networks.network("0.0.0.0/0")], text) in (True, False)
    try:
        networks.network(text)
    except Invalid as problem:
        assert problem.status == 422  # noqa: PT017 - what matters is that nothing else is raised


def test_roles_hold_what_those_below_hold() -> None:
    held = [scopes_of(role) for role in ROLES]
    assert held[0] < held[1] < held[2]
    assert held[3] == {"admin"}
    assert not any(scope.endswith(":write") for scope in held[0])
    assert "keys:write" not in held[2]
    assert set().union(*held) <= SCOPES.keys()
    assert all(is_scope(scope) for scope in SCOPES)
    assert is_scope("flags:*")
    assert not any(map(is_scope, ("", "*", "*:*", "flags", "flags:", ":*", "nothing:*", "flags:fly", "admin:*")))


def test_keys_are_checked_by_many_threads_while_the_snapshot_changes() -> None:
    """Whoever holds one snapshot sees one truth: the old key or the new one, never neither."""
    client_id = "a" * 16
    keys = [rules.mint(client_id, "local") for _ in range(2)]
    tables = [rules.leases_of([client(client_id, key)], "local") for key in keys]
    current, wrong = [tables[0]], list[str]()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            table = current[0]
            if sum(rules.lease_of(key, table, "local", NOW) is not None for key in keys) != 1:
                wrong.append("both or neither")

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(2000):
        current[0] = tables[n % 2]
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(
    st.sets(st.sampled_from(["sandbox:read", "sandbox:write", "sandbox:*", "audit:read", "admin"])),
    st.text(max_size=20),
)
def test_a_scope_is_held_or_not(scopes: set[str], other: str) -> None:
    principal = Principal("id", "team", frozenset(scopes))

    for scope in ("sandbox:read", "sandbox:write", "audit:read", "admin"):
        implied = scope in scopes or "admin" in scopes or (scope == "sandbox:read" and "sandbox:write" in scopes)
        implied = implied or (scope.startswith("sandbox") and "sandbox:*" in scopes)
        assert principal.allows(scope) == implied
    assert replace(principal, scopes=frozenset()).allows(other) is False
