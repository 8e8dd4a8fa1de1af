"""What a call is about, decided on its method and path alone. Pure.

A path that is not on the list is refused: Discord adds routes, and a new one may reach any guild. Interaction tokens
are capabilities: whoever has one was sent it on a lane of its own.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

Subject = Literal[
    "own", "gateway", "guilds", "direct", "guild", "channel", "interaction", "followup", "commands", "unknown"
]
"""``own`` is the application itself, ``guilds`` the list of where it is, ``direct`` a message to one person,
``followup`` a later answer to an interaction (or somebody's webhook), and ``commands`` are the global ones."""

_VERSION: Final = re.compile(r"/api(?:/v(?P<version>\d{1,2}))?(?P<rest>/.*)")
# nothing that a server could read in another way than this: no dots, no empty parts, no parameters, and no escapes but
# those of an emoji behind /reactions/, none of which can become a slash, a dot or another escape
_PLAIN: Final = re.compile(
    r"(?:/[A-Za-z0-9@_-]+)+(?:/reactions/(?:[A-Za-z0-9_:]|%[89A-Fa-f][0-9A-Fa-f]|%3[Aa]|%23|%2[Aa])+(?:/[0-9@a-z]+)?)?"
)
_SNOWFLAKE: Final = r"[1-9][0-9]{0,19}"
_CAPABILITY: Final = r"[A-Za-z0-9_-]{20,400}"
_LONGEST: Final = 1_000
_READING: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``key`` is the id of the guild, channel or webhook; ``path`` is what comes behind the version."""

    subject: Subject
    method: str
    path: str
    key: str = ""

    @property
    def reads(self) -> bool:
        """Say whether it changes nothing."""
        return self.method in _READING


@dataclass(frozen=True, slots=True)
class _Rule:
    subject: Subject
    methods: frozenset[str]
    pattern: re.Pattern[str]


def _rule(subject: Subject, methods: str, template: str) -> _Rule:
    text = template.replace("{id}", f"(?P<key>{_SNOWFLAKE})").replace("{token}", _CAPABILITY)
    text = text.replace("{other}", _SNOWFLAKE)
    wanted = _METHODS if methods == "*" else frozenset(methods.split())
    return _Rule(subject, wanted, re.compile(text))


_BELOW: Final = "(?:/[^/]+){0,8}"
_RULES: Final = (
    _rule("gateway", "GET", "/gateway"),
    _rule("gateway", "GET", "/gateway/bot"),
    _rule("guilds", "GET", "/users/@me/guilds"),
    _rule("direct", "POST", "/users/@me/channels"),
    _rule("own", "GET", "/users/@me"),
    _rule("own", "GET", "/applications/@me"),
    _rule("own", "GET", "/oauth2/applications/@me"),
    _rule("interaction", "POST", "/interactions/{other}/{token}/callback"),
    # a webhook of a channel has the same form: who holds the token says which id is the application's
    _rule("followup", "POST", "/webhooks/{id}/{token}"),
    _rule("followup", "GET PATCH DELETE", "/webhooks/{id}/{token}/messages/(?:@original|{other})"),
    _rule("commands", "GET PUT POST", "/applications/{other}/commands"),
    _rule("commands", "GET PATCH DELETE", "/applications/{other}/commands/{other}"),
    _rule("guild", "*", "/applications/{other}/guilds/{id}/commands" + _BELOW),
    # to delete a guild ends everybody's events of it, production's too: that is no sandbox's to do
    _rule("guild", "GET PATCH", "/guilds/{id}"),
    _rule("guild", "*", "/guilds/{id}/[^/]+" + _BELOW),
    # following sends a channel's messages into a channel that the body names, of whichever guild
    _rule("unknown", "*", "/channels/{id}/followers"),
    # and this into all channels that follow, of whichever guilds
    _rule("unknown", "*", "/channels/{id}/messages/{other}/crosspost"),
    _rule("channel", "*", "/channels/{id}" + _BELOW),
)


def classify(method: str, path: str) -> Call:
    """Say what a call is about; ``unknown`` is refused whatever it claims to be. ``path`` is raw, without a query."""
    versioned = _VERSION.fullmatch(path) if len(path) <= _LONGEST else None
    rest = "" if versioned is None else versioned["rest"]
    if method not in _METHODS or _PLAIN.fullmatch(rest) is None or not _one_reading(rest):
        return Call("unknown", method, rest)
    for rule in _RULES:
        found = rule.pattern.fullmatch(rest)
        if found is not None and ("GET" if method == "HEAD" else method) in rule.methods:
            return Call(rule.subject, method, rest, found.groupdict().get("key") or "")
    return Call("unknown", method, rest)


def _one_reading(path: str) -> bool:
    """Say whether escapes are text that stays what it is: not overlong, and no character that folds into a slash."""
    if "%" not in path:
        return True
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    # what an emoji is made of does not fold into anything of ASCII
    return not any(each.isascii() for one in text if not one.isascii() for each in unicodedata.normalize("NFKC", one))


def tells_secrets(call: Call) -> bool:
    """Say whether reading this gives what one may write with: tokens of webhooks, invitations."""
    return not {"webhooks", "invites", "integrations", "vanity-url"}.isdisjoint(call.path.split("/")[3:])


def bucket(call: Call) -> str:
    """Return which calls share a rate limit until Discord says so: method, path, and the first id that counts."""
    parts = call.path.split("/")
    named: list[str] = [call.method]
    for number, part in enumerate(parts[1:], 1):
        major = number == 2 and parts[1] in ("channels", "guilds", "webhooks")
        minor = part.isdigit() and not major
        named.append("-" if minor or parts[number - 1] == "reactions" else part)
    return "/".join(named)
