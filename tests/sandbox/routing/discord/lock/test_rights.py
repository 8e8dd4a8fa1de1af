"""Whose a token is, and what its sandbox may do in a guild."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.discord.outbound import claims
from valhalla.sandbox.routing.discord.outbound.tokens import bot_token, sandbox_of
from valhalla.sandbox.routing.table import RouteTable, encode

CELL, OTHER = CellKey(b"c" * 32), CellKey(b"d" * 32)


@given(st.text(max_size=60), st.from_regex(r"[a-z0-9]{16}", fullmatch=True))
@settings(max_examples=100, deadline=None, database=None)
def test_a_token_opens_its_own_sandbox_alone(noise: str, sandbox: str) -> None:
    """Those of another installation, and cut or lengthened ones, are nobody's."""
    token = bot_token(CELL, sandbox)
    assert sandbox_of(CELL, f"Bot {token}") == sandbox
    assert sandbox_of(OTHER, f"Bot {token}") is None
    assert sandbox_of(CELL, noise) is None
    assert sandbox_of(CELL, f"Bot {token[:-1]}") is None
    assert sandbox_of(CELL, f"Bot {token}{noise.strip() or 'x'}") is None
    assert sandbox_of(CELL, None) is None


def test_a_token_of_one_sandbox_with_the_id_of_another_is_nobodys() -> None:
    """The proof is over the id."""
    proof = bot_token(CELL, "a" * 16).rpartition(".")[2]
    assert sandbox_of(CELL, f"Bot valhalla.{'b' * 16}.{proof}") is None


def test_a_right_is_what_the_route_is_now() -> None:
    """Stolen, copied, moving, another's, nobody's."""
    table = RouteTable()
    for number, (guild, more) in enumerate(
        {
            "1": {"sandbox": "x" * 16},
            "2": {"sandbox": "x" * 16, "mode": "mirror"},
            "3": {"sandbox": "x" * 16, "held": True},
            "4": {"sandbox": "y" * 16},
        }.items(),
        1,
    ):
        body = encode(Record(kind="discord.guild", **more))  # type: ignore[arg-type]
        table.apply(f"{subjects.ROUTES}.discord.{guild}", body, number)
    assert [claims.right(table, "x" * 16, guild) for guild in "12345"] == ["all", "look", "none", "none", "none"]
    assert claims.guilds(table, "x" * 16) == ["1"]
    assert claims.right(table, "", "5") == "none"
