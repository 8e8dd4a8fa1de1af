"""The gateway client without a socket: whose an event is, what a connection says, what its end means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from valhalla.kernel.problems import Invalid, Problem
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.closing import of_code
from valhalla.sandbox.routing.discord.gateway.conversation import Conversation, Heart, Identity, Over, Session
from valhalla.sandbox.routing.discord.gateway.errors import GatewayRefused, ShardTaken, TokenRefused
from valhalla.sandbox.routing.discord.gateway.intents import parse
from valhalla.sandbox.routing.discord.gateway.keeping import Shelf
from valhalla.sandbox.routing.discord.gateway.marks import Marks
from valhalla.sandbox.routing.errors import EventTooLarge, Fenced
from valhalla.sandbox.routing.items import Stored

GUILD = "811234567890123456"
STORED = Stored(1, False, None)
IDENTITY = Identity(SecretStr("secret"), 513, 1, 4)


def raw(data: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(data).encode())


def frame(op: int, data: Any = None, number: int | None = None, event: str | None = None) -> frames.Frame:
    return frames.frame(json.dumps({"op": op, "d": data, "s": number, "t": event}).encode())


@pytest.mark.parametrize(
    ("event", "data", "key"),
    [
        ("MESSAGE_CREATE", {"guild_id": GUILD, "author": {"id": "5"}, "content": "x"}, GUILD),
        ("INTERACTION_CREATE", {"guild_id": GUILD, "member": {"user": {"id": "5"}}}, GUILD),
        ("GUILD_CREATE", {"id": GUILD, "channels": []}, GUILD),
        ("GUILD_DELETE", {"id": GUILD, "unavailable": True}, GUILD),
        ("GUILD_SCHEDULED_EVENT_CREATE", {"id": "7", "guild_id": GUILD}, GUILD),
        ("MESSAGE_CREATE", {"author": {"id": "5"}, "channel_id": "6"}, "dm.5"),
        ("INTERACTION_CREATE", {"user": {"id": "5"}, "channel_id": "6"}, "dm.5"),
        ("TYPING_START", {"user_id": "5", "channel_id": "6"}, "dm.5"),
        ("MESSAGE_DELETE", {"id": "9", "channel_id": "6"}, "dm.channel.6"),
        ("USER_UPDATE", {"id": "5", "username": "bot"}, "bot"),
        ("MESSAGE_CREATE", {"guild_id": "../..", "channel_id": "6"}, "bot"),
        ("MESSAGE_CREATE", {"guild_id": 5}, "bot"),
        ("MESSAGE_CREATE", {"guild_id": None, "channel_id": "6"}, "dm.channel.6"),
        ("GUILD_CREATE", {}, "bot"),
        ("GUILD_CREATE", None, "bot"),
        ("MESSAGE_CREATE", [1, 2], "bot"),
        ("MESSAGE_CREATE", {"author": "nobody"}, "bot"),
    ],
)
def test_an_events_key_is_its_guild_else_its_user(event: str, data: Any, key: str) -> None:
    """What has neither is the bot's own, and so is what has the wrong form."""
    assert frames.key_of(event, raw(data)) == key


_MEMBERS = ("id", "guild_id", "user_id", "channel_id", "author", "user", "x")
_data = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.sampled_from(["GUILD_CREATE", "MESSAGE_CREATE"]), _data)
def test_any_event_has_a_key_that_can_be_a_subject(event: str, data: Any) -> None:
    """Nothing that Discord sends stops the client."""
    assert subjects.token(frames.key_of(event, raw(data)))


@settings(max_examples=30)
@given(st.integers(0, 2**63 - 1), st.integers(1, 1000))
def test_a_guild_has_one_shard(guild: int, shards: int) -> None:
    """As Discord counts: the milliseconds of the id, by the number of shards."""
    assert frames.shard_of(str(guild), shards) == (guild // 4_194_304) % shards


def test_a_new_connection_identifies_and_a_known_session_is_resumed() -> None:
    """HELLO is answered by who we are, or by where we were."""
    new, old = Conversation(IDENTITY, None), Conversation(IDENTITY, Session("s", "wss://there", 7))
    said = json.loads(new.take(frame(10, {"heartbeat_interval": 1000}), 5.0, 0.5) or "")
    again = json.loads(old.take(frame(10, {"heartbeat_interval": 1000}), 5.0, 0.5) or "")
    new.take(frame(0, {"session_id": "n", "resume_gateway_url": "wss://n"}, 1, "READY"), 5.1, 0)
    old.take(frame(0, {}, 9, "RESUMED"), 5.1, 0)

    assert (said["op"], said["d"]["shard"], said["d"]["intents"]) == (2, [1, 4], 513)
    assert again == {"op": 6, "d": {"token": "secret", "session_id": "s", "seq": 7}}
    assert new.heart is not None
    assert new.heart.due == 5.5
    assert (new.session, new.state) == (Session("n", "wss://n", 1), "live")
    assert (old.session, old.state) == (Session("s", "wss://there", 9), "live")


@pytest.mark.parametrize(("data", "resumes"), [(True, True), (False, False), (None, False), ("true", False)])
def test_an_invalid_session_says_whether_it_remains(data: Any, resumes: bool) -> None:
    """Op 9; the next connection waits one to five seconds, so that not all come at once."""
    with pytest.raises(Over) as raised:
        Conversation(IDENTITY, None).take(frame(9, data), 0.0, 0.5)

    assert raised.value.ending.resumes is resumes
    assert raised.value.ending.pause == 3.0


def test_op_7_resumes_at_once() -> None:
    """The gateway is to be left, the session remains."""
    with pytest.raises(Over) as raised:
        Conversation(IDENTITY, None).take(frame(7), 0.0, 0.5)

    assert raised.value.ending[::2] == (True, 0.0)


def test_nonsense_ends_the_connection_and_unknown_operations_do_not() -> None:
    """HELLO without its interval cannot be answered; what is new is left alone."""
    talk = Conversation(IDENTITY, None)

    assert talk.take(frame(99, {"x": 1}), 0.0, 0.0) is None
    with pytest.raises(Over):
        talk.take(frame(10, {}), 0.0, 0.0)


def test_a_heart_knows_what_was_not_heard() -> None:
    """The latency is that of the first beat which was not yet acknowledged."""
    heart = Heart(10.0, 100.0, 0.25)
    heart.beat(102.5)
    unheard = heart.is_heard
    heart.heard(102.75)

    assert (heart.due, unheard, heart.is_heard, heart.latency) == (112.5, False, True, 0.25)


@pytest.mark.parametrize(
    ("code", "resumes"), [(None, True), (1000, True), (1006, True), (4000, True), (4008, True), (4003, False),
                          (4007, False), (4009, False)]
)  # fmt: skip
def test_a_closing_code_says_whether_the_session_remains(code: int | None, resumes: bool) -> None:
    """As Discord's table of close codes has it."""
    assert of_code(code).resumes is resumes


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
def test_codes_that_stay_end_with_a_way_out(code: int) -> None:
    """Trying again would say the same for ever."""
    with pytest.raises((TokenRefused, GatewayRefused)) as raised:
        of_code(code)

    assert str(code) in raised.value.detail
    assert raised.value.advice != Problem.help


@settings(max_examples=40)
@given(st.permutations(range(2, 12)), st.sets(st.integers(2, 11)))
def test_stored_is_what_has_no_gap_before_it(order: list[int], given_up: set[int]) -> None:
    """Whatever the order of answers, a session is never resumed behind an event that is not stored."""
    marks = Marks("s", 1)
    made = {number: marks.mark(number) for number in range(2, 12)}
    settled = {1}
    for number in order:
        if number in given_up:
            made[number].set_exception(Fenced("stopped"))
        else:
            made[number].set_result(STORED)
            settled.add(number)

        assert marks.stored == max(n for n in range(1, 12) if set(range(1, n + 1)) <= settled)


def test_what_is_refused_for_ever_is_not_waited_for() -> None:
    """An event that is too large for the stream would come again with every resume."""
    marks = Marks("s", 1)
    marks.mark(2).set_exception(EventTooLarge("too large", member="data"))
    marks.skip(3)
    marks.mark(4)
    marks.withdraw()

    assert (marks.stored, marks.refused, len(marks)) == (3, 1, 0)


def test_a_shelf_keeps_one_session_for_one_process(tmp_path: Path) -> None:
    """A second process is told; a broken file is no session; the file is nobody else's to read."""
    shelf = Shelf(tmp_path, 0, 2)
    shelf.save(Session("s", "wss://there", 9), 7)
    with pytest.raises(ShardTaken):
        Shelf(tmp_path, 0, 2)
    shelf.close()
    again = Shelf(tmp_path, 0, 2)
    kept = again.load()
    (file,) = tmp_path.glob("*.json")
    mode = file.stat().st_mode & 0o777
    file.write_text("{")

    assert kept == Session("s", "wss://there", 7)
    assert mode == 0o600
    assert again.load() is None
    again.forget()
    assert again.load() is None
    again.close()


def test_intents_are_named_or_a_number() -> None:
    """An unknown name says which there are."""
    assert (parse("guilds, guild_messages"), parse("513")) == (513, 513)
    assert parse("default,message_content") == parse("default") | 1 << 15
    assert parse("all") == parse("default") | 1 << 1 | 1 << 8 | 1 << 15
    with pytest.raises(Invalid, match="guild_messages"):
        parse("messages")


def test_nothing_that_is_printed_holds_the_token() -> None:
    """Neither who connects nor what a connection knows shows it."""
    assert "secret" not in repr(IDENTITY)
    assert "secret" not in repr(vars(Conversation(IDENTITY, None)))
