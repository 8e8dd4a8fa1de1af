"""The keys and tokens are those of the reference library, and the same inputs give the same bytes."""

from __future__ import annotations

import base64
import json

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel.problems import Misconfigured
from valhalla.kit import natsauth
from valhalla.kit.cellkey import CellKey
from valhalla.kit.nkeys import Kind, is_account_key

CELL = CellKey(bytes(range(32)))
OTHER = CellKey(bytes(32))


@pytest.mark.parametrize(("kind", "letter"), [("operator", "O"), ("account", "A"), ("user", "U")])
def test_key_equals_the_reference_library(kind: Kind, letter: str) -> None:
    """A derived seed gives the same public key and signature in the nkeys package."""
    ours = natsauth.KeyPair.derive(CELL, kind, "purpose", "part")
    theirs = nkeys.from_seed(ours.seed.encode())

    assert theirs.public_key.decode() == ours.public
    assert theirs.sign(b"text") == ours.sign(b"text")
    assert ours.public.startswith(letter)
    assert ours.seed.startswith("S" + letter)


def test_keys_differ_by_every_input() -> None:
    """No two of cell, kind, purpose and parts share a key."""
    derive = natsauth.KeyPair.derive
    keys = {
        derive(cell, kind, purpose, *parts).seed
        for cell in (CELL, OTHER)
        for kind in ("operator", "account", "user")
        for purpose, parts in [("a", ("b",)), ("ab", ()), ("a", ("b", "")), ("", ("a", "b"))]
    }

    assert len(keys) == 2 * 3 * 4


def test_seed_round_trip() -> None:
    """A seed read back is the same key."""
    key = natsauth.KeyPair.derive(CELL, "operator", "x")

    assert natsauth.KeyPair.from_seed(f" {key.seed}\n") == key


@pytest.mark.parametrize("seed", ["", "SO", "S" * 58, "not base32!", natsauth.KeyPair.derive(CELL, "user", "x").public])
def test_bad_seed(seed: str) -> None:
    """What is no seed is a configuration problem, not a ValueError."""
    with pytest.raises(Misconfigured):
        natsauth.KeyPair.from_seed(seed)


@given(at=st.integers(1, 55), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_account_key_is_found(at: int, letter: str) -> None:
    """Whichever character it is; and keys of operators and users are no account's."""
    key = natsauth.KeyPair.derive(CELL, "account", "x").public
    typed = key[:at] + letter + key[at + 1 :]

    assert is_account_key(typed) == (typed == key)


@pytest.mark.parametrize("kind", ["operator", "user"])
def test_a_key_of_another_kind_is_no_account(kind: Kind) -> None:
    """As a seed is not, and no text."""
    pair = natsauth.KeyPair.derive(CELL, kind, "x")
    assert not any(map(is_account_key, (pair.public, pair.seed, "", "A" * 55, "not base32!")))


def test_flipped_character_of_a_seed_is_found() -> None:
    """The checksum catches a typing error."""
    seed = natsauth.KeyPair.derive(CELL, "user", "x").seed
    with pytest.raises(Misconfigured):
        natsauth.KeyPair.from_seed(seed[:20] + ("A" if seed[20] != "A" else "B") + seed[21:])


def test_secret_never_shows_in_repr() -> None:
    """Printing a key prints no seed."""
    key = natsauth.KeyPair.derive(CELL, "user", "x")

    assert key.seed not in repr(key)
    assert "Signing" not in repr(key)


def test_trust_is_byte_stable() -> None:
    """Two processes of one cell write the same operator and accounts; another cell writes others."""
    assert natsauth.trust(CELL) == natsauth.trust(CELL)
    assert natsauth.system_creds(CELL) == natsauth.system_creds(CELL)
    assert natsauth.control_creds(CELL) != natsauth.system_creds(CELL)
    assert not set(natsauth.trust(CELL).accounts) & set(natsauth.trust(OTHER).accounts)


def test_trust_is_signed_by_the_operator() -> None:
    """Each account's JWT names the operator as issuer and carries its signature."""
    trust = natsauth.trust(CELL)
    operator = natsauth.operator_key(CELL)
    names: set[str] = set()
    for public, token in trust.accounts.items():
        claims = natsauth.decode_jwt(token)
        body, signature = token.rsplit(".", 1)
        verifier = nkeys.from_seed(operator.seed.encode())
        names.add(claims["name"])

        assert verifier.verify(body.encode(), base64.urlsafe_b64decode(signature + "=="))
        assert claims["sub"] == public
        assert claims["iss"] == operator.public

    assert names == {"SYS", "VALHALLA"}
    assert natsauth.decode_jwt(trust.operator_jwt)["nats"]["system_account"] == trust.system_account
    assert operator.seed not in json.dumps([trust.operator_jwt, *trust.accounts.values()])


def test_empty_permissions_allow_nothing() -> None:
    """The server reads an empty allow list as everything; an empty list here denies everything."""
    account = natsauth.KeyPair.derive(CELL, "account", "a")
    closed = natsauth.decode_jwt(natsauth.user_jwt(account, "U", name="n", publish=[], subscribe=["a.>"]))["nats"]
    opened = natsauth.decode_jwt(natsauth.user_jwt(account, "U", name="n"))["nats"]

    assert closed["pub"] == {"deny": [">"]}
    assert closed["sub"] == {"allow": ["a.>"]}
    assert opened["pub"] == {}


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.W10.c", "é.é.é"])
def test_decode_refuses_what_is_no_jwt(text: str) -> None:
    """Malformed text is a ValueError with one message."""
    with pytest.raises(ValueError, match="not a JWT"):
        natsauth.decode_jwt(text)
