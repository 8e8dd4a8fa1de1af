"""What the lock reads in a path: whose it is, what it may not be, and which turn it takes."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.routing.discord.lock.ids import A, B

from valhalla.sandbox.routing.discord.outbound import rules
from valhalla.sandbox.routing.discord.outbound.guarding import hidden
from valhalla.sandbox.routing.discord.outbound.rules import Call, classify

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


def test_no_token_is_in_what_is_noted() -> None:
    """Interactions' and webhooks' are in their paths."""
    token = "t" * 30
    for path in (f"/interactions/1/{token}/callback", f"/webhooks/1/{token}", f"/webhooks/1/{token}/messages/2"):
        assert token not in hidden(Call("interaction", "POST", path))
    assert hidden(Call("guild", "PATCH", "/guilds/1/roles/2")) == "/guilds/1/roles/2"
