"""Another user, a script or an odd name gets sandbox A no further than its rule."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.isolation.valkey_attacks.field import Field, Refusal

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.valkey import ValkeySlice
from valhalla.sandbox.slices.valkey_rules import user_rule


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("RESET | GET {A}string", "NOAUTH"),
        ("RESET | SCAN 0", "NOAUTH"),
        ("RESET | AUTH default '' | GET {B}string", "NOAUTH"),
        ("AUTH default ''", "WRONGPASS"),
        ("AUTH default default", "WRONGPASS"),
        ("AUTH ''", "WRONGPASS"),
        ("AUTH {userB} guess", "WRONGPASS"),
        ("AUTH {userB} ''", "WRONGPASS"),
        ("HELLO 3 AUTH {userB} guess", "WRONGPASS"),
        ("HELLO 2 AUTH default ''", "WRONGPASS"),
    ],
)
async def test_becoming_another_user(field_unharmed: Field, script: str, expected: str) -> None:
    """Giving up its own user leaves A nobody, and no other user lets it in."""
    answer = (await field_unharmed.run(script))[-1]

    assert isinstance(answer, Refusal)
    assert answer.text.startswith(expected)


async def test_scripts_do_not_widen_the_rule(field_unharmed: Field, valkey_slice: ValkeySlice) -> None:
    """Were scripting allowed, the same patterns would hold inside: no foreign key, no listing."""
    names = field_unharmed.a
    rule = user_rule(names, valkey_slice.password(names), await valkey_slice._server.version())
    await field_unharmed.admin.execute_command("ACL SETUSER", names.valkey_user, *rule, "+eval")
    try:
        for call in ("'get', '{B}string'", "'keys', '*'", "'scan', '0'", "'publish', '{B}news', 'x'", "'flushall'"):
            (answer,) = await field_unharmed.run(f'EVAL "return redis.call({call})" 0')
            assert isinstance(answer, Refusal), f"{call}: {answer!r}"
    finally:
        await field_unharmed.admin.execute_command("ACL SETUSER", names.valkey_user, *rule)


async def test_ids_cannot_reach_further(field_: Field, cell: CellKey) -> None:
    """A name with a glob in it gets no rule, whoever made it."""
    for bad in ("*", "a*aaaaaaaaaaaaaa", "[a-z]", "?" * 16, "", "A" * 16, new_id() + "}"):
        names = Names.for_sandbox(bad, cell=cell.cell, database="none")
        with pytest.raises(ValueError, match="sandbox id"):
            await field_.part.provision(names, expires_at=datetime.max)
