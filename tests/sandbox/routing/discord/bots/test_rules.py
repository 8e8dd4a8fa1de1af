"""The gateway of bots without a socket: what bots say, what they are told of an event, what a session's id says."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kernel.ids import new_id
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import table
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.discord.bots import protocol, sessions, visibility
from valhalla.sandbox.routing.discord.bots.positions import furthest
from valhalla.sandbox.routing.discord.bots.protocol import Closing
from valhalla.sandbox.routing.discord.bots.sessions import Session
from valhalla.sandbox.routing.discord.gateway import intents
from valhalla.sandbox.routing.discord.outbound import claims, copies
from valhalla.testing.discord import intents as fake

CELL, OTHER = CellKey(b"a" * 32), CellKey(b"b" * 32)
BOX = new_id()
EVENTS = [
    "READY",
    "GUILD_CREATE",
    "GUILD_DELETE",
    "GUILD_ROLE_UPDATE",
    "GUILD_MEMBER_ADD",
    "GUILD_MEMBERS_CHUNK",
    "GUILD_BAN_ADD",
    "MESSAGE_CREATE",
    "MESSAGE_UPDATE",
    "MESSAGE_DELETE_BULK",
    "MESSAGE_REACTION_ADD",
    "MESSAGE_POLL_VOTE_ADD",
    "TYPING_START",
    "CHANNEL_CREATE",
    "CHANNEL_PINS_UPDATE",
    "THREAD_CREATE",
    "THREAD_MEMBERS_UPDATE",
    "INTERACTION_CREATE",
    "PRESENCE_UPDATE",
    "VOICE_STATE_UPDATE",
    "INVITE_CREATE",
    "WEBHOOKS_UPDATE",
    "INTEGRATION_CREATE",
    "GUILD_EMOJIS_UPDATE",
    "GUILD_SCHEDULED_EVENT_CREATE",
    "AUTO_MODERATION_RULE_CREATE",
    "AUTO_MODERATION_ACTION_EXECUTION",
    "STAGE_INSTANCE_CREATE",
    "USER_UPDATE",
    "SOMETHING_NEW",
]


def frame(op: int, data: Any = None) -> Any:
    return protocol.read(json.dumps({"op": op, "d": data}))


@given(
    shard=st.integers(0, 63),
    wanted=st.integers(0, visibility.ALL),
    base=st.integers(0, 2**60),
    behind=st.integers(0, 2**31),
)
@settings(max_examples=50)
def test_a_sessions_id_says_all_that_is_to_be_known(shard: int, wanted: int, base: int, behind: int) -> None:
    """Another process reads it; numbers of events lead back to where they lie."""
    made = Session(BOX, shard, 64, wanted, base)
    text = sessions.write(CELL, made)

    assert sessions.read(CELL, BOX, text) == made
    assert made.position(made.number(base + behind)) == base + behind
    assert len(text) == 64


def test_a_sessions_id_of_anybody_else_is_none() -> None:
    """Of another installation, of another sandbox, changed, or invented."""
    text = sessions.write(CELL, Session(BOX, 0, 1, 1, 5))
    changed = ("a" if text[0] != "a" else "b") + text[1:]

    assert sessions.read(OTHER, BOX, text) is None
    assert sessions.read(CELL, new_id(), text) is None
    assert [sessions.read(CELL, BOX, each) for each in (changed, text[:-1], text + "a", "", "ß", "=", "a" * 64)] == [
        None
    ] * 7


def test_shards_have_the_guilds_that_discord_gives_them() -> None:
    """And the first one what is no guild's."""
    guild = str((1234567 << 22) + 17)
    found = [number for number in range(4) if Session(BOX, number, 4, 0, 0).sees(guild)]

    assert found == [1234567 % 4]
    assert [Session(BOX, number, 4, 0, 0).sees("dm.5") for number in range(4)] == [True, False, False, False]


@pytest.mark.parametrize("event", EVENTS)
def test_a_bot_is_told_what_its_intents_say(event: str) -> None:
    """As the fake of Discord's tells, which users' tests rely on."""
    for direct in (False, True):
        bit = visibility.needed(event, direct=direct)
        assert bit == fake.needed(event, direct=direct)
        data = b'{"content":"x"}'
        assert (visibility.seen(event, data, bit or 1, "1", direct=direct) is None) is False
        if bit:
            others = visibility.ALL & ~bit
            assert visibility.seen(event, data, others, "1", direct=direct) is None


def test_a_messages_content_needs_its_intent() -> None:
    """Unless it is the bot's own, names it, or is private; the same as the fake."""
    bits = intents.parse("guild_messages")
    said = {"content": "secret", "author": {"id": "7"}, "embeds": [1], "guild_id": "5", "mentions": []}
    replied = {**said, "referenced_message": said}

    def shown(**more: Any) -> Any:
        data = json.dumps({**said, **more}).encode()
        found = visibility.seen("MESSAGE_CREATE", data, bits, "1")
        return json.loads(found or b"null")

    assert shown() == {**said, "content": "", "embeds": [], "attachments": [], "components": []}
    assert shown() == fake.seen("MESSAGE_CREATE", said, bits, "1")
    assert shown(**replied)["referenced_message"]["content"] == ""
    assert shown(author={"id": "1"})["content"] == "secret"
    assert shown(mentions=[{"id": "1"}])["content"] == "secret"
    assert shown(content="<@1> secret")["content"] == "<@1> secret"
    with_it = visibility.seen("MESSAGE_CREATE", b'{"content":"secret"}', bits | 1 << 15, "1")
    assert with_it == b'{"content":"secret"}'


def test_privileged_intents_are_the_applications() -> None:
    """By its flags, those for few guilds and those for many."""
    wanted = intents.parse("all")
    bits = {name: 1 << intents.BITS[name] for name in intents.PRIVILEGED}

    assert visibility.disallowed(wanted, 0) == sum(bits.values())
    assert visibility.disallowed(wanted, 1 << 13 | 1 << 14 | 1 << 19) == 0
    assert visibility.disallowed(wanted, 1 << 12 | 1 << 18) == bits["guild_members"]
    assert visibility.disallowed(intents.parse("default"), 0) == 0


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 4002),
        ("[]", 4002),
        ('{"op":"1"}', 4002),
        ('{"d":1}', 4002),
        ("\ud800", 4002),
        (b"\xff\x00", 4002),
        ('{"op":1,"d":"' + "x" * 4096 + '"}', 4002),
    ],
    ids=["broken", "list", "text", "no-op", "surrogate", "binary", "oversize"],
)
def test_what_is_no_frame_is_a_decode_error(said: str | bytes, code: int) -> None:
    with pytest.raises(Closing) as caught:
        protocol.read(said)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, 4002),
        ({"intents": 1}, 4002),
        ({"token": 5, "intents": 1}, 4002),
        ({"token": "x"}, 4013),
        ({"token": "x", "intents": "1"}, 4013),
        ({"token": "x", "intents": 1, "shard": [1, 1]}, 4010),
        ({"token": "x", "intents": 1, "shard": [-1, 1]}, 4010),
        ({"token": "x", "intents": 1, "shard": [0, 0]}, 4010),
        ({"token": "x", "intents": 1, "shard": [0, 99999]}, 4010),
        ({"token": "x", "intents": 1, "shard": "x"}, 4010),
    ],
    ids=["null", "no-token", "number", "no-intents", "text", "beyond", "negative", "none", "many", "no-shard"],
)
def test_a_wrong_identify_gets_discords_code(data: Any, code: int) -> None:
    with pytest.raises(Closing) as caught:
        protocol.identify(frame(2, data))

    assert caught.value.code == code


def test_clients_write_ids_and_shards_in_their_ways() -> None:
    """discord.py asks for members with numbers; others with text or lists."""
    assert protocol.ids(protocol.members(frame(8, {"guild_id": 5, "user_ids": [1, "2"]})).user_ids) == ["1", "2"]
    assert protocol.ids(protocol.members(frame(8, {"guild_id": "5"})).guild_id) == ["5"]
    assert protocol.identify(frame(2, {"token": "x", "intents": 0, "properties": {}, "compress": True})).shard == (0, 1)
    assert protocol.resume(frame(6, {"token": "x", "session_id": None, "seq": None})).seq is None
    with pytest.raises(Closing):
        protocol.members(frame(8, {"query": "x"}))


def test_an_event_is_written_as_it_came() -> None:
    """Byte for byte; only what is around it is ours."""
    data = b'{"a" : 1.0, "big":123456789012345678901234567890}'
    written = protocol.event("X", 7, data)

    assert data in written
    assert json.loads(written)["s"] == 7


def test_a_copys_token_is_one_sandboxs() -> None:
    """It can be told from Discord's, and nobody makes one for another sandbox."""
    found = msgspec.json.decode(copies.copied(CELL, BOX, b'{"id":"5","token":"real","x":1}') or b"")

    assert found | {"token": ""} == {"id": "5", "token": "", "x": 1}
    assert copies.is_copy(found["token"])
    assert copies.sandbox_of(CELL, found["token"]) == BOX
    assert copies.sandbox_of(OTHER, found["token"]) is None
    assert copies.sandbox_of(CELL, found["token"].replace(BOX, new_id())) is None
    assert not copies.is_copy("aW50ZXJhY3Rpb246MTIzNDU2")
    assert copies.copied(CELL, BOX, b"[]") is None


def test_a_bot_sees_its_guilds_and_production_the_rest() -> None:
    """A copy is both's; what moves at the moment is no sandbox's."""
    routes = table.RouteTable()
    for number, (guild, record) in enumerate(
        {
            "10": Record("discord.guild", BOX),
            "9": Record("discord.guild", BOX, mode="mirror"),
            "8": Record("discord.guild", BOX, held=True),
            "7": Record("discord.guild", new_id()),
        }.items(),
        1,
    ):
        routes.apply(f"rt.discord.{guild}", table.encode(record), number)

    assert claims.visible(routes, BOX) == ["9", "10"]
    assert claims.unclaimed(routes, ["10", "9", "7", "100"]) == ["9", "100"]


def test_a_shard_begins_where_everything_of_it_was_sent() -> None:
    """To a bot of as many shards, or of another number of which each was there."""
    assert furthest({}, 0, 1) == 0
    assert furthest({(0, 1): 5}, 0, 1) == 5
    assert [furthest({(0, 1): 5}, number, 2) for number in range(2)] == [5, 5]
    # the first of two is ahead, the second has not been there
    assert [furthest({(0, 1): 5, (0, 2): 9}, number, 2) for number in range(2)] == [9, 5]
    assert furthest({(0, 1): 5, (0, 2): 9}, 0, 1) == 5
    assert furthest({(0, 1): 5, (0, 2): 9, (1, 2): 7}, 0, 1) == 7
    assert furthest({(0, 1): 5, (0, 2): 9, (1, 2): 7}, 2, 3) == 7
