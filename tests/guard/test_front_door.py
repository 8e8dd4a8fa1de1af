"""The package as a user meets it: the default guard, lazy imports, the example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from valhalla import guard
from valhalla.guard import BadDeclaration, Guard
from valhalla.guard.lifecycle import LIFECYCLE

ROOT = Path(__file__).parents[2]


def test_three_lines_are_enough() -> None:
    code = (
        "from valhalla import guard\n"
        "@guard.action('payment', key='order')\n"
        "def pay(order): return order\n"
        "assert pay('1') == pay('1') == '1'\n"
        "import valhalla; assert valhalla.guard is guard and guard.default() is guard.default()\n"
        "assert guard.run('other', len, 'abc') == 3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in guard.__all__:
        assert getattr(guard, name) is not None
    assert set(guard.__all__) <= set(dir(guard))
    with pytest.raises(AttributeError):
        _ = guard.nothing


@pytest.mark.parametrize("heavy", ["sqlalchemy", "fastapi", "pydantic", "redis", "psycopg", "tenacity", "structlog"])
def test_the_guard_imports_no_server(heavy: str) -> None:
    code = f"import valhalla.guard, sys; valhalla.guard.default(); assert {heavy!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_valhalla_imports_no_guard() -> None:
    code = "import valhalla, sys; assert not [m for m in sys.modules if m.startswith('valhalla.guard')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_tells_its_story() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "payments.py"], check=True, capture_output=True, text=True, timeout=60
    )
    assert "provider was paid 1 time(s)" in done.stdout
    assert "settled: receipt-of-the-bank" in done.stdout
    assert done.stderr == ""


def test_the_diagram_is_the_lifecycle() -> None:
    text = (ROOT / "docs" / "guard.md").read_text()
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE))
    declared = {(state, to) for state, successors in LIFECYCLE.transitions.items() for to in successors}
    assert drawn == declared


@pytest.mark.parametrize(
    "options",
    [
        {"retries": "three"},
        {"timeout": "5s"},
        {"lease": "1m"},
        {"breaker": "5"},
        {"key": 5},
        {"subject": 5},
        {"fingerprint": "order"},
        {"simulate": "paid"},
        {"reconcile": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_of_the_wrong_kind_is_named(options: dict[str, object]) -> None:
    with pytest.raises(BadDeclaration, match=next(iter(options))):
        Guard().action("payment", **options)(lambda order: order)


def test_a_decorator_without_a_name_and_a_store_that_is_a_text_are_told_at_once() -> None:
    with pytest.raises(BadDeclaration) as bare:
        Guard().action(lambda order: order)  # pyright: ignore[reportArgumentType]
    assert "@guard.action('payment', ...)" in bare.value.advice
    with pytest.raises(BadDeclaration, match="a store is an object, not str"):
        Guard("sqlite:///guard.db")  # pyright: ignore[reportArgumentType]


def test_one_secret_argument_may_be_named_as_a_text() -> None:
    made = Guard(redact="iban")
    pay = made.action("payment", approval="1 of anyone", redact="pin")(lambda iban, pin: None)
    pay.outcome("DE02120300000000202051", "4711")
    (record,) = made.waiting()
    assert "DE02120300000000202051" not in str(record.summary)
    assert "4711" not in str(record.summary)
