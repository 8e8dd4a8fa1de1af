"""What a sandbox may do on Valkey and NATS, as text: pure, for any id."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.kernel.ids import ALPHABET, LENGTH
from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.nats_rules import NatsLimits, may_publish, may_subscribe, room_for
from valhalla.sandbox.slices.valkey_rules import allowed_commands, read_version, user_rule

ids = st.text(alphabet=ALPHABET, min_size=LENGTH, max_size=LENGTH)


def names_of(sandbox_id: str) -> Names:
    """Return the names of a sandbox of some cell."""
    return Names.for_sandbox(sandbox_id, cell="abc234", database="d")


@given(ids)
def test_valkey_rule_starts_from_nothing(sandbox_id: str) -> None:
    """The rule resets first, forbids everything, and then opens one key and one channel pattern."""
    rule = user_rule(names_of(sandbox_id), "pw", (7, 2))

    assert rule[:2] == ["reset", "on"]
    assert rule[2] == "#" + hashlib.sha256(b"pw").hexdigest()
    assert rule.index("resetchannels") < rule.index(f"&{{{sandbox_id}}}:*")
    assert [word for word in rule if word[0] in "~&%"] == [f"~{{{sandbox_id}}}:*", f"&{{{sandbox_id}}}:*"]
    assert rule.index("-@all") < min(rule.index(word) for word in rule if word.startswith("+"))
    assert not {"nopass", "allkeys", "allchannels", "allcommands", "+@all"} & set(rule)
    assert not any(word.startswith(">") for word in rule), "a password in the clear"


@given(st.text())
def test_no_rule_for_what_is_no_id(text: str) -> None:
    """Whatever is not exactly an id is refused before it becomes a pattern."""
    if not (len(text) == LENGTH and set(text) <= set(ALPHABET)):
        with pytest.raises(ValueError, match="not a sandbox id"):
            user_rule(names_of(text), "pw", (7, 0))


def test_setinfo_needs_a_server_that_knows_it() -> None:
    """One unknown word would make an older server refuse the whole rule."""
    assert "+client|setinfo" not in allowed_commands((7, 0))
    assert "+client|setinfo" in allowed_commands((7, 2))
    assert "+client|setinfo" in allowed_commands((8, 0))


@pytest.mark.parametrize(
    ("text", "version"), [("7.0.15", (7, 0)), ("7.2.4", (7, 2)), ("8", (8, 0)), ("6.2.14", (6, 2))]
)
def test_read_version(text: str, version: tuple[int, int]) -> None:
    """Major and minor, whatever follows."""
    assert read_version(text) == version


@given(ids, ids)
def test_nats_permissions_never_match_a_neighbour(mine: str, other: str) -> None:
    """A pattern that carries an id carries its own as a whole token; the rest are APIs that the account confines."""
    a, b = names_of(mine), names_of(other)
    for subject in {*may_publish(a), *may_subscribe(a)}:
        if subject.startswith("$"):
            continue
        if subject == "ev.p.>":
            # in the sandbox's account there is nothing under it but its own lane
            continue
        lane = {f"ev.api.CONSUMER.{verb}.VH_EV.s-{mine}" for verb in ("INFO", "MSG.NEXT")}
        assert subject in {f"sbx.{mine}.>", f"_INBOX_{mine}.>", *lane}
        assert mine == other or subject not in {*may_publish(b), *may_subscribe(b)}


def test_nats_limits() -> None:
    """Nothing is unlimited but the volume of data, and a cut account admits no connection."""
    claims = NatsLimits().claims()

    assert [member for member, value in claims.items() if value == -1] == ["data"]
    assert not {"leaf", "exports", "wildcards"} & set(claims)
    assert claims["disallow_bearer"] is True
    assert NatsLimits().claims(connections=0)["conn"] == 0
    assert NatsLimits(disk=5).claims()["disk_storage"] == 5


def test_room_for_accounts() -> None:
    """The scarcer of memory and disk decides; what an account does not limit does not count."""
    limits = NatsLimits(memory=16, disk=64)

    assert room_for(limits, 256, 64_000) == 16
    assert room_for(limits, 16_000, 640) == 10
    assert room_for(NatsLimits(memory=-1, disk=64), 0, 640) == 10
    assert room_for(NatsLimits(memory=-1, disk=-1), 0, 0) > 10**9
