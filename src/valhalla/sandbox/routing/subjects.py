"""Subjects of events: what a source, a key and a type become, and what can become none. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from valhalla.kernel.ids import is_id
from valhalla.sandbox.routing.errors import EventInvalid

LANES: Final = "ev"
PRODUCTION: Final = "ev.p"
SANDBOXES: Final = "ev.s"
ROUTES: Final = "rt"
BEATS: Final = "ig"
DEAD: Final = "dl"
BOTS: Final = "bt"
DISCORD: Final = "discord"
"""The source of Discord's events, whose keys are guilds."""

MAX_KEY: Final = 128
MAX_TYPE: Final = 128
MAX_SUBJECT: Final = 1024

_SOURCE: Final = re.compile(r"[a-z][a-z0-9-]{0,95}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_OTHER: Final = re.compile(rb"[^A-Za-z0-9_-]")
_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")
_ESCAPED: Final = re.compile(rb"=([0-9A-F]{2})")
# controls, line ends of Unicode, and halves of surrogate pairs, which have no UTF-8
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Place(NamedTuple):
    """Where an event is: ``sandbox`` is None on the production lane."""

    sandbox: str | None
    source: str
    key: str
    type: str


def check_source(source: str) -> str:
    """Return a legal source.

    Raises:
        EventInvalid: it does not match ``[a-z][a-z0-9-]{0,95}``.
    """
    if _SOURCE.fullmatch(source) is None:
        raise EventInvalid("a source is 1 to 96 characters of a-z, 0-9 and '-', a letter first", member="source")
    return source


def token(text: str, *, most: int = MAX_KEY, member: str = "key") -> str:
    """Write any text as one token of a subject: bytes of its UTF-8 other than A-Z a-z 0-9 _ - become ``=HH``.

    Two texts never become one token, and ``plain`` reads it back. ``most`` is in characters.

    Raises:
        EventInvalid: it is empty, too long, or has control characters.
    """
    if not 0 < len(text) <= most:
        raise EventInvalid(f"a {member} has 1 to {most} characters", member=member)
    if _PLAIN.fullmatch(text) is not None:
        return text
    if _FORBIDDEN.search(text) is not None:
        raise EventInvalid(f"a {member} has no control characters and no half of a surrogate pair", member=member)
    return _OTHER.sub(lambda found: b"=%02X" % found[0][0], text.encode()).decode()


def plain(written: str) -> str:
    """Read what ``token`` wrote.

    Raises:
        EventInvalid: it did not write this.
    """
    if _TOKEN.fullmatch(written) is None:
        raise EventInvalid("this is no token of an event's subject", member="subject")
    try:
        text = _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), written.encode()).decode()
    except UnicodeDecodeError as error:
        raise EventInvalid("this is no token of an event's subject", member="subject") from error
    if token(text, most=max(MAX_KEY, MAX_TYPE)) != written:
        raise EventInvalid("this is no token of an event's subject", member="subject")
    return text


def address(source: str, key: str) -> str:
    """Return ``{source}.{key}`` in tokens: the name of a route's record, and the middle of its events' subjects.

    Raises:
        EventInvalid: one of them cannot be written.
    """
    return f"{check_source(source)}.{token(key)}"


def type_token(type_: str) -> str:
    """Return an event's type as a token.

    Raises:
        EventInvalid: it cannot be written.
    """
    return token(type_, most=MAX_TYPE, member="type")


def lane(sandbox: str | None) -> str:
    """Return the prefix of a sandbox's lane, or of production's.

    Raises:
        EventInvalid: it is no sandbox's id; a wider subject could be meant.
    """
    if sandbox is None:
        return PRODUCTION
    if not is_id(sandbox):
        raise EventInvalid("this is no id of a sandbox", member="sandbox")
    return f"{SANDBOXES}.{sandbox}"


def subject(place: Place) -> str:
    """Return the subject of an event.

    Raises:
        EventInvalid: a part of it cannot be written, or it is too long.
    """
    written = f"{lane(place.sandbox)}.{address(place.source, place.key)}.{type_token(place.type)}"
    if len(written) > MAX_SUBJECT:
        raise EventInvalid("key and type are too long together", member="key")
    return written


def parse(written: str) -> Place:
    """Read an event's subject.

    Raises:
        EventInvalid: it is none.
    """
    match written.split("."):
        case ["ev", "p", source, key, type_]:
            sandbox = None
        case ["ev", "s", sandbox, source, key, type_]:
            lane(sandbox)
        case _:
            raise EventInvalid("this is no subject of an event", member="subject")
    return Place(sandbox, check_source(source), plain(key), plain(type_))


def lane_of_key(sandbox: str | None, where: str) -> str:
    """Return the filter of all events of one address (as ``address`` writes it) in a lane."""
    return f"{lane(sandbox)}.{where}.>"


def shard_of(key: str, shards: int) -> int:
    """Return which shard of a bot a key of Discord's is; what is of no guild is the first's."""
    return (int(key) >> 22) % shards if key.isdigit() else 0
