"""What sandbox A can make Valkey allocate is bounded."""

from __future__ import annotations

import pytest
from tests.isolation.valkey_attacks.field import Field, Refusal


@pytest.mark.parametrize(
    "attack",
    [
        "SETRANGE {A}big 268435456 x",
        "SETRANGE {A}big 1048577 x",
        "SETBIT {A}big 4294967295 1",
        "BITFIELD {A}big SET u8 268435456 1",
        "BITFIELD {A}big OVERFLOW SAT INCRBY u8 #33554432 1",
    ],
)
async def test_one_call_cannot_take_much_memory(field_unharmed: Field, attack: str) -> None:
    """``proto-max-bulk-len`` bounds what one command can allocate."""
    (answer,) = await field_unharmed.run(attack)

    assert isinstance(answer, Refusal), answer
    assert not await field_unharmed.admin.exists(f"{field_unharmed.a.key_prefix}big")


async def test_append_stops_at_the_limit(field_unharmed: Field) -> None:
    """Neither does a string grow past it piece by piece."""
    answers = await field_unharmed.run("SETRANGE {A}big 1048570 x | APPEND {A}big 0123456789 | DEL {A}big")

    assert isinstance(answers[1], Refusal)
    assert "exceeds" in answers[1].text
