"""Whatever is written verifies, and whatever is tampered with does not: any values, any batches, any place."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.ledger.tampering import COLUMNS, FREE, PLACED, SELECT_FORGED, E, fill, tamper

from valhalla.kit.ledger import Ledger

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30, deadline=None)
@given(details=st.dictionaries(st.text(max_size=8), json, max_size=5), who=st.text(max_size=10))
def test_whatever_is_written_verifies(engine: sa.Engine, ledger: Ledger, details: dict[str, Any], who: str) -> None:
    """Numbers, NULs, surrogates: what Postgres gives back is what the MAC covered."""
    with engine.connect() as conn:
        ledger.append(conn, actor=who, action="a", kind=who, subject=who, details=details, correlation_id=who)
        assert ledger.seal(conn) == 1
        verdict = ledger.verify(conn)
        assert verdict.ok, verdict.fault
        conn.rollback()


def _drop(n: int, m: int) -> tuple[str | None, list[str]]:
    return "deleted", [f"DELETE FROM {E} WHERE seq = {n}"]


def _alter(n: int, m: int) -> tuple[str | None, list[str]]:
    return "altered", [f"UPDATE {E} SET subject = subject || 'x' WHERE seq = {n}"]


def _swap(n: int, m: int) -> tuple[str | None, list[str]]:
    return "reordered", [FREE, f"UPDATE {E} SET seq = {n + m} - seq WHERE seq IN ({n}, {m})"]


def _swap_content(n: int, m: int) -> tuple[str | None, list[str]]:
    inner = f"(SELECT {COLUMNS} FROM {E} b WHERE b.seq = {n + m} - a.seq)"
    return "reordered", [FREE, f"UPDATE {E} a SET ({COLUMNS}) = {inner} WHERE seq IN ({n}, {m})"]


def _forge(n: int, m: int) -> tuple[str | None, list[str]]:
    return "inserted", [
        FREE,
        f"UPDATE {E} SET seq = seq + 1 WHERE seq >= {n}",
        f"{PLACED} {SELECT_FORGED}, {n}, prev, hash FROM {E} WHERE seq > {n} ORDER BY seq LIMIT 1",
    ]


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    attack=st.sampled_from([_drop, _alter, _swap, _swap_content, _forge]),
    data=st.data(),
)
def test_random_tampering_is_found_where_it_begins(
    engine: sa.Engine, ledger: Ledger, batches: list[int], attack: Any, data: st.DataObject
) -> None:
    """Any number of batches of any size, any attack on any place."""
    total = sum(batches)
    first = data.draw(st.integers(1, total))
    second = data.draw(st.integers(1, total))
    first, second = min(first, second), max(first, second)
    with engine.connect() as conn:
        for count in batches:
            fill(conn, ledger, count, batch=count)
        kind, statements = attack(first, second)
        tamper(conn, *statements)
        fault = ledger.verify(conn, batch=data.draw(st.integers(1, 7))).fault
        conn.rollback()
    if first == second and kind == "reordered":
        assert fault is None
        return
    if kind == "deleted" and first == total:
        kind = "truncated"
    assert fault is not None
    assert (fault.kind, fault.seq) == (kind, first), fault.detail
