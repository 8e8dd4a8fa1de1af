"""Redaction: no secret gets through, nothing is too strange to be told, nothing else is touched."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from valhalla.kit.json import dumps, loads
from valhalla.kit.redact import MASK, MAX_TEXT, hide, is_secret_name, redact, secret_names, text


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "db_passwd", "client_secret", "token", "refresh_token", "api_key", "apikey",
        "X-Api-Key", "Authorization", "Set-Cookie", "credentials", "private_key", "seed", "creds",
    ],
)  # fmt: skip
def test_secret_names_hide_their_values(name: str) -> None:
    """Whatever the value is, also a container."""
    assert redact({name: "x"}) == {name: MASK}
    assert redact({"a": [{name: {"deep": 1}}]}) == {"a": [{name: MASK}]}


def test_further_names_can_be_given() -> None:
    """From the settings."""
    assert redact({"iban": "x", "Customer_IBAN": 1}, names=["Iban"]) == {"iban": MASK, "Customer_IBAN": MASK}


def test_yes_no_and_nothing_are_no_secrets() -> None:
    """It may be useful to know that there was none."""
    assert redact({"token": None, "is_private": True}) == {"token": None, "is_private": True}


@pytest.mark.parametrize(
    ("secret", "rest"),
    [
        ("vh_live_abcdefghijklmnop", "key {} used"),
        ("abc.def-ghi_jkl", "Authorization: Bearer {}"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "jwt {}"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "pem {} end"),
        ("-----BEGIN NATS USER JWT-----\nxyz", "creds {}"),
        ("SUAKYRHVIOREXV7EUZTBHUHL7NUMHPMAS7QMDU3GTIUWEI5LDNOXD43IZY", "seed {}"),
        ("4111 1111 1111 1111", "card {}"),
        ("5500-0000-0000-0004", "card {}."),
        ("378282246310005", "amex {}"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(secret: str, rest: str) -> None:
    """Inside of other text too, and the rest stays readable."""
    hidden = redact({"note": rest.format(secret)})["note"]
    assert secret not in hidden
    assert MASK in hidden
    assert hidden.startswith(rest.split("{}", maxsplit=1)[0])


def test_url_passwords_are_hidden_and_the_rest_stays() -> None:
    """An operator still sees which server was meant."""
    assert redact("postgresql://u:p%40ss@h:5432/d?x=1") == "postgresql://u:***@h:5432/d?x=1"
    assert redact("redis://:secret@h/0 and amqp://a:b:c@h") == "redis://:***@h/0 and amqp://a:***@h"
    assert redact("https://h/a:b@c") == "https://h/a:b@c"


@pytest.mark.parametrize(
    "harmless",
    [
        "8112345678901234567", "1234567890123456", "4111111111111112", "2026-11-21 10:00:00.123456",
        "SOMETHING", "vh_", "the bearer of bad news", "0123456789abcdef0123456789abcdef",
    ],
)  # fmt: skip
def test_harmless_text_is_left_alone(harmless: str) -> None:
    """Ids of Discord are as long as card numbers."""
    assert redact(harmless) == harmless


def test_a_card_number_as_an_integer_is_hidden_and_other_integers_stay() -> None:
    """Types do not matter to a thief."""
    assert redact([4111111111111111, 1763691482123456, 7]) == [MASK, 1763691482123456, 7]


def test_known_types_become_readable() -> None:
    """And a secret type never tells."""

    class Color(Enum):
        RED = "red"

    class Thing:
        def __repr__(self) -> str:
            return "Thing(password=hunter2)"

    assert redact(
        {
            "s": SecretStr("x"), "at": datetime(2026, 1, 2, 3, tzinfo=UTC), "d": date(2026, 1, 2), "n": math.nan,
            "b": b"\x00\xff", "e": Color.RED, "t": Thing(), "set": {2, 1}, "dec": Decimal("1.50"),
            "u": UUID(int=5), "td": timedelta(seconds=90), "err": ValueError("bad vh_test_abcdefgh"), "big": 2**70,
        }
    ) == {
        "s": "***", "at": "2026-01-02T03:00:00.000Z", "d": "2026-01-02", "n": None,
        "b": "[2 bytes]", "e": "red", "t": "[Thing]", "set": [1, 2], "dec": "1.50",
        "u": "00000000-0000-0000-0000-000000000005", "td": "90.0 s", "err": "bad ***", "big": "1180591620717411303424",
    }  # fmt: skip


def test_cycles_depth_and_size_are_bounded() -> None:
    """A hostile value costs little."""
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = cycle
    assert redact(cycle) == {"a": 1, "self": "[cycle]"}
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "[too deep]" in dumps(redact(deep)).decode()
    assert redact("x" * 10_000) == "x" * MAX_TEXT + "…[cut]"
    assert redact(list(range(1002)))[-1] == "[2 more]"
    wide = [[[0] * 500 for _ in range(500)] for _ in range(50)]
    assert len(dumps(redact(wide))) < 1_000_000


def test_the_same_value_twice_is_no_cycle() -> None:
    """Only containment in itself is."""
    shared = [1]
    assert redact([shared, shared]) == [[1], [1]]


def test_a_secret_across_the_cut_does_not_leak_half() -> None:
    """The cut comes after the masking."""
    secret = "vh_live_" + "a" * 40
    assert "vh_live" not in text("x" * (MAX_TEXT - 10) + " " + secret)


def test_hostile_objects_cannot_raise() -> None:
    """Their own code runs inside somebody's transaction."""

    class Evil(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no")

    class EvilText(str):
        __slots__ = ()

        def __getitem__(self, _: Any) -> Any:
            raise RuntimeError("no")

    class EvilError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    for value in (Evil(a=1), EvilText("x"), EvilError(), [EvilError()]):
        assert "unreadable" in str(redact(value))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes()
    | st.dates() | st.decimals() | st.uuids() | st.timedeltas() | st.complex_numbers() | st.builds(object)
    | st.text(alphabet=st.characters(categories=["Cs", "Cc"]))
)  # fmt: skip
keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.uuids() | st.datetimes()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.sets(st.integers())
    | st.tuples(inner, inner) | st.frozensets(st.text()),
    max_leaves=30,
)  # fmt: skip


@given(anything)
def test_anything_becomes_json(value: Any) -> None:
    """Never raises, always encodable, stable when repeated, and equal after a round trip."""
    plain = redact(value)
    assert loads(dumps(plain)) == plain
    assert b"\\u0000" not in dumps(plain).replace(b"\\\\", b"")


@given(st.text(), st.text(alphabet="abcdefghij0123456789_-", min_size=8, max_size=40), st.text())
def test_a_key_never_survives_its_surroundings(before: str, body: str, after: str) -> None:
    """Our own keys are found in any text, unless a word runs into them."""
    value = f"{before} vh_{body} {after}"
    assert f"vh_{body} " not in redact(value)


@given(
    st.text(alphabet="eyJvh_SOAUNC23456789.:+- 4111", max_size=60)
    | st.from_regex(r"[A-Za-z0-9._:+-]{0,45}", fullmatch=True)
)
def test_the_short_way_hides_what_the_long_way_hides(value: str) -> None:
    """Padding with a character that no short text has forces the long way."""
    assert text(value) + " é" == text(value + " é") or MASK in text(value + " é")
    assert text(value + " é").removesuffix(" é") == text(value)


def test_names_of_the_settings_are_hidden_everywhere() -> None:
    value = {"IBAN": "DE02", "customer": {"patient_id": "7", "name": "Ada"}, "token": "t"}
    hide(["iban", "Patient", " "])
    try:
        assert redact(value) == {"IBAN": "***", "customer": {"patient_id": "***", "name": "Ada"}, "token": "***"}
        assert is_secret_name("patient_id")
        assert {"iban", "patient", "token"} <= set(secret_names())
    finally:
        hide([])
    assert redact(value)["IBAN"] == "DE02"
    assert not is_secret_name("patient_id")
