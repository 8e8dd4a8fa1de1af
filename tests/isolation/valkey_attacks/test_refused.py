"""The commands that Valkey refuses sandbox A, alone and within a transaction."""

from __future__ import annotations

import pytest
from tests.isolation.valkey_attacks.field import Field, Refusal, lines
from tests.isolation.valkey_attacks.foreign_commands import FOREIGN_CHANNELS, FOREIGN_KEYS
from tests.isolation.valkey_attacks.server_commands import LOOK_AROUND, TAKE_OVER

ABSENT = ("unknown command", "unknown subcommand", "command not allowed")
"""This server does not have the command, or has it switched off for everybody."""


ALL = [*lines(LOOK_AROUND), *lines(TAKE_OVER), *lines(FOREIGN_KEYS), *lines(FOREIGN_CHANNELS)]


@pytest.mark.parametrize("attack", ALL)
async def test_refused(field_unharmed: Field, attack: str) -> None:
    """The server itself refuses the command for lack of permission, also where it has it switched off."""
    (answer,) = await field_unharmed.run(attack)

    assert isinstance(answer, Refusal), f"{attack} answered {answer!r}"
    if not answer.text.startswith("NOPERM "):
        assert any(words in answer.text.lower() for words in ABSENT), answer.text
        await field_unharmed.check_rule(attack)


@pytest.mark.parametrize("attack", ALL)
async def test_refused_in_a_transaction(field_: Field, attack: str) -> None:
    """MULTI hides nothing: what is refused outside is refused inside, and EXEC runs none of it."""
    answers = await field_.run(f"MULTI | SET {{A}}ran 1 | {attack} | EXEC")

    assert isinstance(answers[2], Refusal), f"{attack} was queued: {answers[2]!r}"
    assert isinstance(answers[-1], Refusal), f"{attack} ran: {answers[-1]!r}"
    assert not await field_.admin.exists(f"{field_.a.key_prefix}ran")


async def test_transactions_left_the_victim_unharmed(field_unharmed: Field) -> None:
    """After all of the above B is complete (its state is compared around this test, its keys are named here)."""
    keys = [key async for key in field_unharmed.admin.scan_iter(match=f"{field_unharmed.b.key_prefix}*", count=1000)]

    assert len(keys) == 10
    assert await field_unharmed.client_b.get(f"{field_unharmed.b.key_prefix}string") == b"secret"
