"""Kinds of routes: which keys each takes, and under which source its events come. Pure.

A kind that is not listed takes plain keys, and its events come under its own name: ``telegram.chat`` as
``telegram-chat``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_KIND: Final = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*){0,3}")
_MAX_KIND: Final = 63
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
# A snowflake is 64 bits of milliseconds since 2015: 17 to 19 digits today, below 2**63.
_SNOWFLAKE: Final = re.compile(r"[1-9][0-9]{16,18}")
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")
# RFC 9110 section 5.6.2, without what a shell, a list or a path would read
_HEADER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,62})=([A-Za-z0-9_.@:+=~-]{1,63})")
_PATTERN_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+|\*")
_MAX_TOKENS: Final = 16

PATTERNS: Final = "subject"
"""The source whose keys are patterns: ``*`` is one token, ``>`` at the end one or more."""


class KeyFormError(ValueError):
    """The key is none of its kind; the text says what one is."""


class KindFormError(ValueError):
    """This can be no kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind whose keys have a meaning. ``source`` is the token that its events carry."""

    name: str
    source: str
    check: Callable[[str], str]
    help: str


def _snowflake(key: str) -> str:
    if _SNOWFLAKE.fullmatch(key) is None or int(key) >= 2**63:
        raise KeyFormError("a snowflake: 17 to 19 digits")
    return key


def _header(key: str) -> str:
    match = _HEADER.fullmatch(key)
    if match is None:
        raise KeyFormError("a header's name, '=' and its value, such as 'x-user=alice'")
    return f"{match[1].lower()}={match[2]}"


def _tenant(key: str) -> str:
    if _TENANT.fullmatch(key) is None:
        raise KeyFormError("1 to 128 characters of A-Z, a-z, 0-9 and '_.:@-'")
    return key


def _pattern(key: str) -> str:
    tokens = key.split(".")
    body = tokens[:-1] if tokens[-1] == ">" else tokens
    legal = body and len(key) <= 128 and len(tokens) <= _MAX_TOKENS and all(map(_PATTERN_TOKEN.fullmatch, body))
    if not legal or body[0] == "*":
        raise KeyFormError(
            "a subject whose first token is fixed; '*' stands for one token, '>' at the end for the rest"
        )
    return key


def _plain(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise KeyFormError("1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'")
    return key


KINDS: Final = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("discord.guild", "discord", _snowflake, "everything that happens in a Discord server"),
            Kind("header", "http", _header, "HTTP requests that carry a header of this value"),
            Kind("tenant", "tenant", _tenant, "events of one customer"),
            Kind(PATTERNS, PATTERNS, _pattern, "events that were published on subjects of this pattern"),
        )
    }
)
_SOURCES: Final = frozenset(kind.source for kind in KINDS.values())


def source_of(kind: str) -> str:
    """Return under which source a kind's events come.

    Raises:
        KindFormError: it is no kind, or its name is that of a source which another kind has.
    """
    known = KINDS.get(kind)
    if known is not None:
        return known.source
    if len(kind) > _MAX_KIND or _KIND.fullmatch(kind) is None:
        raise KindFormError("a route's kind is dotted lower-case words, such as 'discord.guild'")
    # two dashes for an underscore keep two kinds from one source: after a dot there is a letter
    source = kind.replace("_", "--").replace(".", "-")
    if source in _SOURCES:
        raise KindFormError(f"'{kind}' is no kind of route; known ones are {', '.join(KINDS)}")
    return source


def check_key(kind: str, key: str) -> str:
    """Return a key of this kind in its one spelling.

    Raises:
        KindFormError, KeyFormError: one of them has a wrong form.
    """
    source_of(kind)
    known = KINDS.get(kind)
    if known is not None:
        return known.check(key)
    return _snowflake(key) if kind.startswith("discord.") else _plain(key)


def matches(pattern: str, subject: str) -> bool:
    """Say whether a subject falls under a pattern."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
    elif len(given) != len(wanted):
        return False
    return all(want in ("*", have) for want, have in zip(wanted, given, strict=False))


def overlap(one: str, other: str) -> bool:
    """Say whether some subject falls under both patterns."""
    left, right = one.split("."), other.split(".")
    for index in range(max(len(left), len(right))):
        if index >= len(left) or index >= len(right):
            return False
        if ">" in (left[index], right[index]):
            return True
        if "*" not in (left[index], right[index]) and left[index] != right[index]:
            return False
    return True
