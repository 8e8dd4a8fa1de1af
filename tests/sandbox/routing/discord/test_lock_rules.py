"""What the lock decides without anybody: paths, bodies, tokens, claims, turns."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import Record
from valhalla.sandbox.routing.discord.outbound import answers, bodies, claims, rules
from valhalla.sandbox.routing.discord.outbound.guarding import hidden
from valhalla.sandbox.routing.discord.outbound.mistakes import Mistakes
from valhalla.sandbox.routing.discord.outbound.pacing import Pacer, TooMany
from valhalla.sandbox.routing.discord.outbound.rules import Call, classify
from valhalla.sandbox.routing.discord.outbound.tokens import bot_token, sandbox_of
from valhalla.sandbox.routing.table import RouteTable, encode

A, B = "811234567890123456", "811234567890129999"
CELL, OTHER = CellKey(b"c" * 32), CellKey(b"d" * 32)
PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "/../",
        "/./",
        "%2e%2e",
        "%2F",
        "%5c",
        "\\",
        ";",
        ";x=",
        "%00",
        "?",
        "#",
        "%25",
        "%252f",
        "@",
        "%c0%af",
        "%C0%AE",
        "%EF%BC%8F",
        "%E2%81%84",
        "guilds",
        "channels",
        "/guilds/",
        "/channels/",
        A,
        B,
        "members",
        "reactions",
        "/reactions/",
        "%F0%9F%98%80",
        "messages",
        "applications",
        "commands",
        "/api/v10",
        "webhooks",
        "👍",
    ]
)


def plainly(path: str) -> str:
    """Return a path as the most willing of servers could read it: unescaped twice, folded, dots gone."""
    text = unquote(unquote(path, errors="replace"), errors="replace").replace("\\", "/").split("?")[0].split("#")[0]
    found: list[str] = []
    for part in text.split("/"):
        bare = part.split(";")[0]
        if bare == "..":
            found = found[:-1]
        elif bare not in ("", "."):
            found.append(bare)
    return "/" + "/".join(found)


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), st.lists(PIECES, max_size=8))
@settings(max_examples=300, deadline=None, database=None)
def test_what_is_about_a_guild_is_about_it_for_every_server(method: str, pieces: list[str]) -> None:
    """Whatever comes behind a guild's or channel's id, nobody can read another one out of it."""
    for root in (f"/api/v10/guilds/{A}", f"/api/v10/channels/{A}", f"/api/v10/applications/1/guilds/{A}/commands"):
        call = classify(method, root + "".join(pieces))
        if call.subject == "unknown":
            continue
        assert call.key == A
        wanted = root.removeprefix("/api/v10")
        assert plainly(call.path).startswith(wanted)
        # the same number of parts, so that none of them has eaten another
        assert plainly(call.path).count("/") == call.path.count("/")


@given(st.lists(PIECES, min_size=1, max_size=8))
@settings(max_examples=300, deadline=None, database=None)
def test_a_path_of_pieces_is_itself_or_refused(pieces: list[str]) -> None:
    """Wherever they stand."""
    call = classify("POST", "/api/v10" + "".join(pieces))
    assert call.subject == "unknown" or plainly(call.path) == unquote(call.path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v10/guilds"),
        ("POST", "/api/v10/guilds"),
        ("DELETE", f"/api/v10/guilds/{A}"),
        ("POST", f"/api/v10/channels/{A}/followers"),
        ("POST", f"/api/v10/channels/{A}/messages/1/crosspost"),
        ("GET", "/api/v10/users/1"),
        ("PATCH", "/api/v10/users/@me"),
        ("DELETE", f"/api/v10/users/@me/guilds/{A}"),
        ("PATCH", "/api/v10/applications/@me"),
        ("GET", "/api/v10/invites/x"),
        ("GET", "/api/v10/webhooks/1"),
        ("POST", f"/api/v10/guilds/0{A}/roles"),
        ("GET", f"http://discord.com/api/v10/guilds/{A}"),
        ("GET", f"//discord.com/api/v10/guilds/{A}"),
        ("GET", f"/api/v10//guilds/{A}"),
        ("GET", f"/api/v10/guilds/{A}/"),
        ("GET", f"/api/v10/guilds/{A}\n"),
        ("GET", f"/api/v10/guilds/{A}/../{B}"),
        ("GET", f"/api/v10/guilds/{A}/%2e%2e/{B}"),
        ("GET", f"/api/v100/guilds/{A}"),
        ("CONNECT", f"/api/v10/guilds/{A}"),
        ("TRACE", f"/api/v10/guilds/{A}"),
        ("get", f"/api/v10/guilds/{A}"),
        ("GET", "/api/v10/guilds/" + "1" * 2000),
        ("PUT", f"/api/v10/channels/{A}/messages/1/reactions/%C0%AF/@me"),
        ("PUT", f"/api/v10/channels/{A}/messages/1/reactions/%EF%BC%8F/@me"),
        ("PUT", f"/api/v10/channels/{A}/messages/1/reactions/%2e%2e/@me"),
    ],
    ids=[f"route{number}" for number in range(27)],
)
def test_what_is_not_on_the_list_is_refused(method: str, path: str) -> None:
    """Discord adds routes, and a new one may reach any guild."""
    assert classify(method, path).subject == "unknown"


@pytest.mark.parametrize(
    ("method", "path", "subject", "key"),
    [
        ("GET", "/api/v10/users/@me", "own", ""),
        ("HEAD", "/api/v10/users/@me", "own", ""),
        ("GET", "/api/guilds/7", "guild", "7"),
        ("GET", "/api/v9/guilds/7", "guild", "7"),
        ("POST", "/api/v10/channels/7/messages", "channel", "7"),
        ("PUT", "/api/v10/channels/7/messages/8/reactions/%F0%9F%98%80/@me", "channel", "7"),
        ("PUT", "/api/v10/channels/7/messages/8/reactions/name:9/@me", "channel", "7"),
        ("PUT", "/api/v10/channels/7/messages/8/reactions/%23%EF%B8%8F%E2%83%A3/@me", "channel", "7"),
        ("PUT", "/api/v10/applications/1/commands", "commands", ""),
        ("PUT", "/api/v10/applications/1/guilds/7/commands", "guild", "7"),
        ("POST", "/api/v10/users/@me/channels", "direct", ""),
        ("POST", f"/api/v10/interactions/1/{'t' * 30}/callback", "interaction", ""),
        ("PATCH", f"/api/v10/webhooks/5/{'t' * 30}/messages/@original", "followup", "5"),
    ],
    ids=["me", "head", "bare", "nine", "send", "emoji", "named", "keycap", "sync", "own", "dm", "reply", "edit"],
)
def test_what_bots_do_is_known(method: str, path: str, subject: str, key: str) -> None:
    """With the id that decides."""
    call = classify(method, path)
    assert (call.subject, call.key) == (subject, key)


def test_calls_share_a_bucket_by_route_and_first_id() -> None:
    """Messages of a channel do, also where they are named; those of another channel do not."""
    names = [
        rules.bucket(classify(method, f"/api/v10/channels/{path}"))
        for method, path in (
            ("PATCH", "1/messages/5"),
            ("PATCH", "1/messages/6"),
            ("PATCH", "2/messages/5"),
            ("DELETE", "1/messages/5"),
            ("PATCH", "1/messages/5/reactions/a/@me"),
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4


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


FORWARD = {"message_reference": {"type": 1, "channel_id": B, "message_id": "1"}}


def form(*parts: tuple[str, bytes], head: str = "") -> tuple[str, bytes]:
    made = b"".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"{head}\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in parts
    )
    return "multipart/form-data; boundary=xx", made + b"--xx--\r\n"


def test_references_to_other_channels_are_found_wherever_they_are() -> None:
    """In JSON, deeper in it, and in forms."""
    for document in (FORWARD, {"message": FORWARD}, [FORWARD], {"message_reference": {"channel_id": int(B)}}):
        assert bodies.foreign(bodies.read("application/json", json.dumps(document).encode()), A)
    read = bodies.read(*form(("payload_json", json.dumps(FORWARD).encode()), ("files[0]", b"--xy\r\n\r\n")))
    assert bodies.foreign(read, A)
    assert not bodies.foreign(read, B)
    assert bodies.foreign({"message_reference": {"message_id": "1"}}, None)
    assert not bodies.foreign({"message_reference": {"message_id": "1"}}, A)
    assert bodies.foreign({"message_reference": "odd"}, A)
    assert not bodies.foreign({"content": "message_reference"}, A)


GOOD = json.dumps({"content": "x"}).encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", GOOD),
        ("application/x-www-form-urlencoded", b"content=x"),
        ("application/json; charset=utf-16", json.dumps(FORWARD).encode("utf-16")),
        ("application/json", json.dumps(FORWARD).encode("utf-16")),
        ("application/json", b'{"message_reference":null,"message_reference":{"channel_id":"1"}}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b"[" * 100 + b"]" * 100),
        ("application/json", b"{"),
        ("multipart/mixed; boundary=xx", form(("payload_json", GOOD))[1]),
        ("multipart/form-data", form(("payload_json", GOOD))[1]),
        form(("payload_json", GOOD), ("payload_json", json.dumps(FORWARD).encode())),
        form(("message_reference[channel_id]", B.encode())),
        form(("payload_json", GOOD), head="\r\nContent-Transfer-Encoding: base64"),
        form(("payload_json", GOOD), head='\r\nContent-Disposition: form-data; name="files[0]"'),
        form(("payload%5Fjson", GOOD)),
        ("multipart/form-data; boundary=xx", b"preamble\r\n" + form(("payload_json", GOOD))[1]),
        ("multipart/form-data; boundary=xx", form(("payload_json", GOOD))[1][:-4]),
        ("multipart/form-data; boundary=xx; boundary=yy", form(("payload_json", GOOD))[1]),
    ],
    ids=[f"body{number}" for number in range(18)],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(kind: str, body: bytes) -> None:
    """Or in none: Discord might read in it what the lock does not."""
    with pytest.raises(bodies.Unreadable):
        bodies.read(kind, body)


def test_no_token_is_in_what_is_noted() -> None:
    """Interactions' and webhooks' are in their paths."""
    token = "t" * 30
    for path in (f"/interactions/1/{token}/callback", f"/webhooks/1/{token}", f"/webhooks/1/{token}/messages/2"):
        assert token not in hidden(Call("interaction", "POST", path))
    assert hidden(Call("guild", "PATCH", "/guilds/1/roles/2")) == "/guilds/1/roles/2"


def test_a_pretended_message_is_as_discord_answers() -> None:
    """With an id that is a time, growing."""
    made = answers.Pretence()
    call = classify("POST", f"/api/v10/channels/{A}/messages")
    first, second = (json.loads(made.of(call, {"content": "x"}, {"id": "5"}).body) for _ in range(2))
    assert int(first["id"]) < int(second["id"])
    assert abs((int(first["id"]) >> 22) + 1_420_070_400_000 - time.time() * 1000) < 60_000
    assert (first["channel_id"], first["content"], first["author"]) == (A, "x", {"id": "5"})
    assert made.of(classify("DELETE", f"/api/v10/channels/{A}"), None, {}).status == 204


async def test_turns_are_as_discord_says() -> None:
    """A window that is used up closes; another bucket does not mind; everything minds the one for all."""
    pacer = Pacer(patience=0.02)
    await pacer.turn("x", "a")
    pacer.learn("x", "a", 200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset-after": "60"})
    await pacer.turn("y", "a")
    with pytest.raises(TooMany) as limit:
        await pacer.turn("x", "a")
    assert 50 < limit.value.seconds <= 60
    await pacer.turn("x", "b")
    pacer.learn("x", "b", 429, {"retry-after": "30"})
    with pytest.raises(TooMany):
        await pacer.turn("y", "b")
    pacer.learn("x", "c", 429, {"retry-after": "40", "x-ratelimit-scope": "global"})
    with pytest.raises(TooMany) as limit:
        await pacer.turn("x", "new")
    assert limit.value.everywhere


async def test_of_a_new_bucket_one_is_tried_first() -> None:
    """The others wait for what is said to it; one without a limit does not hold them up again."""
    pacer = Pacer(patience=5)
    await pacer.turn("x", "a")
    waiting = [asyncio.create_task(pacer.turn("x", "a")) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    pacer.learn("x", "a", 204, {})
    await asyncio.gather(*waiting)
    await pacer.turn("x", "a")


async def test_one_sandbox_cannot_fill_the_line() -> None:
    """Its own is full, and others still wait."""
    pacer = Pacer(patience=5)
    await pacer.turn("x", "a")
    waiting = [asyncio.create_task(pacer.turn("x", "a")) for _ in range(30)]
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in waiting) == 10
    other = asyncio.create_task(pacer.turn("y", "b"))
    await asyncio.wait_for(other, 1)
    for task in waiting:
        task.cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in found) == 10


def test_who_asks_for_what_is_forbidden_too_often_is_stopped() -> None:
    """Before Discord stops everybody at this address; those who show no token count together alone."""
    mistakes = Mistakes(each=3, together=8)
    for status in (200, 404, 401, 403, 429, 500):
        mistakes.note("x", status, "user")
    mistakes.note("y", 429, "shared")
    assert 590 < mistakes.wait("x") <= 600
    assert mistakes.wait("y") == 0
    for _ in range(4):
        mistakes.note("", 401, None)
    assert mistakes.wait("") == mistakes.wait("y") == 0
    mistakes.note("", 401, None)
    assert mistakes.wait("") > 590
    assert mistakes.wait("y") > 590


async def test_a_stopped_sandbox_gets_no_turn() -> None:
    """Others do."""
    pacer = Pacer(mistakes=Mistakes(each=1))
    await pacer.turn("x", "a")
    pacer.learn("x", "a", 403, {})
    with pytest.raises(TooMany):
        await pacer.turn("x", "b")
    await pacer.turn("y", "b")


async def test_all_together_are_as_many_in_a_second_as_discord_takes() -> None:
    """Whatever their buckets."""
    pacer = Pacer(patience=0.05, everywhere=5)
    for number in range(5):
        await pacer.turn("x", f"bucket{number}")
    with pytest.raises(TooMany):
        await pacer.turn("y", "another")
