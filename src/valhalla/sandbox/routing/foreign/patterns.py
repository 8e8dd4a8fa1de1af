"""Subjects of publishers that are not ours: which token is the key, and what becomes of an event's subject. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from valhalla.kit import nkeys
from valhalla.sandbox.routing import kinds, subjects
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.foreign.contracts import PARTITIONS, EventSource
from valhalla.sandbox.routing.foreign.errors import SourceInvalid

NAME: Final = r"[a-z][a-z0-9-]{0,31}"
HOPS: Final = "_VH"
CLAIMED: Final = "_VHC"
_LITERAL: Final = re.compile(r"[A-Za-z0-9_-]+")
_LABEL: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ACCOUNT: Final = re.compile(r"A[A-Z2-7]{55}")
_STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MISTYPED: Final = "Copy the key again; 'nsc describe account' prints it."
# what a server's subject can hold as one token, and no wildcard
_TOKEN: Final = re.compile(r"[^\s.*>\x00-\x1f\x7f]+")
_MAX_TOKENS: Final = 16
_OWN: Final = frozenset(
    {subjects.LANES, subjects.ROUTES, subjects.BEATS, subjects.DEAD, HOPS, CLAIMED, "_INBOX", "_R_"}
)


class Found(NamedTuple):
    """What a foreign subject says; ``subject`` is the one that was published on."""

    key: str
    type: str
    subject: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed subject. Positions count tokens from 0, wildcards count from 1 as NATS does."""

    tokens: tuple[str, ...]
    key_at: int
    type_at: int | None

    @property
    def wild(self) -> str:
        """The subject with wildcards: every subject of the source, and no other."""
        return ".".join(_star(token) for token in self.tokens)

    @property
    def has_more(self) -> bool:
        """Whether key and type are not all that a subject says."""
        return "*" in self.tokens

    @property
    def fixed_type(self) -> str:
        """The type of events whose subject does not say it."""
        return "-".join(token for token in self.tokens if _LITERAL.fullmatch(token))

    def wildcards(self) -> list[int]:
        """Return the positions of what is no literal."""
        return [at for at, token in enumerate(self.tokens) if _star(token) == "*"]


def parse(subject: str) -> Pattern:
    """Read ``orders.{key}.{type}``.

    Raises:
        SourceInvalid: it is no such subject.
    """
    tokens = tuple(subject.split("."))
    variable = [token for token in tokens if token in ("{key}", "{type}", "*")]
    literal = [token for token in tokens if _LITERAL.fullmatch(token)]
    if len(subject) > 200 or len(tokens) > _MAX_TOKENS or len(variable) + len(literal) != len(tokens):
        raise SourceInvalid(
            f"a subject is up to {_MAX_TOKENS} tokens of letters, digits, '_' and '-', or '{{key}}', '{{type}}', '*'"
        )
    if variable.count("{key}") != 1 or variable.count("{type}") > 1:
        raise SourceInvalid("a subject has '{key}' once and '{type}' at most once")
    if tokens[0] in variable or tokens[0] in _OWN:
        raise SourceInvalid("a subject begins with a word of its own, and not with one of event routing's")
    return Pattern(tokens, tokens.index("{key}"), tokens.index("{type}") if "{type}" in tokens else None)


def check(source: EventSource) -> None:
    """Accept a source that can be routed.

    Raises:
        SourceInvalid: it cannot.
    """
    if re.fullmatch(NAME, source.name) is None:
        raise SourceInvalid("a source's name is 1 to 32 of a-z, 0-9 and '-', a letter first")
    parse(source.subject)
    try:
        where = kinds.source_of(source.kind)
    except kinds.KindFormError as error:
        raise SourceInvalid(str(error)) from error
    if where == kinds.PATTERNS:
        raise SourceInvalid("keys of the kind 'subject' are patterns, and one token of a subject is none")
    check_account(source.account)
    if source.stream is not None and _STREAM.fullmatch(source.stream) is None:
        raise SourceInvalid("a stream's name is 1 to 64 of letters, digits, '_' and '-'")
    if source.way == "mapping" and is_foreign(source.account):
        raise SourceInvalid("only an account that the control plane makes is mapped", help="Set way=router for it.")
    if source.stream is not None and source.way != "router":
        raise SourceInvalid("only a router reads a stream")


def check_account(account: str) -> None:
    """Accept a word, or a public key that the NATS server can look up: of one that is none it says nothing at all.

    Raises:
        SourceInvalid: it is neither.
    """
    if is_foreign(account) and not nkeys.is_account_key(account):
        raise SourceInvalid(f"{account} is no account's public key: its checksum is wrong", help=_MISTYPED)
    if _LABEL.fullmatch(account) is None and not is_foreign(account):
        raise SourceInvalid("an account is a word of a-z, 0-9 and '-', or the public key of one that exists")


def is_foreign(account: str) -> bool:
    """Say whether an account is not one that the control plane makes."""
    return _ACCOUNT.fullmatch(account) is not None


def overlapping(one: EventSource, others: Iterable[EventSource]) -> EventSource | None:
    """Return a source that covers some of the same subjects of the same account."""
    wild = parse(one.subject).wild
    for other in others:
        same = other.name != one.name and other.account == one.account
        if same and kinds.overlap(wild, parse(other.subject).wild):
            return other
    return None


def production_subject(kind: str) -> str:
    """Return under which subjects a kind's events are on production's lane."""
    return f"{subjects.PRODUCTION}.{kinds.source_of(kind)}.*.*"


def mapping(source: EventSource, key: str) -> tuple[str, str] | None:
    """Return from which subject to which a claimed key's events are mapped; None for a key that no subject can hold.

    The pattern has this one key in it and no catch-all beside it: of overlapping mappings a server applies either.
    """
    if _TOKEN.fullmatch(key) is None:
        return None
    pattern = parse(source.subject)
    given, kept, stars = list[str](), list[str](), 0
    for at, token in enumerate(pattern.tokens):
        here = key if at == pattern.key_at else _star(token)
        given.append(here)
        if here == "*":
            stars += 1
            kept.append(f"{{{{wildcard({stars})}}}}")
        elif at == pattern.key_at:
            kept.append(key)
    return ".".join(given), ".".join((CLAIMED, source.name, *kept))


def wanted(source: EventSource) -> str:
    """Return what a router's stream takes: everything of a routed source, of a mapped one what is claimed."""
    pattern = parse(source.subject)
    if source.way == "router":
        return pattern.wild
    return ".".join((CLAIMED, source.name, *("*" for _ in pattern.wildcards())))


def hop_subject(source: EventSource) -> str:
    """Return what that stream makes of a subject: the part of its key first, then what is no literal."""
    pattern = parse(source.subject)
    stars = pattern.wildcards()
    kept = ".".join(f"{{{{wildcard({number})}}}}" for number in range(1, len(stars) + 1))
    return f"{HOPS}.{{{{partition({PARTITIONS},{stars.index(pattern.key_at) + 1})}}}}.{kept}"


def part_filter(part: int) -> str:
    """Return the filter of one part of a router's stream."""
    return f"{HOPS}.{part}.>"


class Reader:
    """Reads a router's subjects back, for one pattern."""

    def __init__(self, pattern: Pattern) -> None:
        stars = pattern.wildcards()
        self._pattern = pattern
        self._stars = stars
        # behind '_VH' and the part
        self._key = 2 + stars.index(pattern.key_at)
        self._type = None if pattern.type_at is None else 2 + stars.index(pattern.type_at)
        self._fixed = pattern.fixed_type
        self._more = pattern.has_more

    def read(self, subject: str) -> Found:
        """Return key, type and, where these are not all of it, the subject that was published on.

        Raises:
            EventInvalid: it is none of this source's.
        """
        tokens = subject.split(".")
        if len(tokens) != len(self._stars) + 2:
            raise EventInvalid("this is no subject of the source", member="subject")
        return Found(
            tokens[self._key],
            self._fixed if self._type is None else tokens[self._type],
            self._original(tokens) if self._more else "",
        )

    def _original(self, tokens: Sequence[str]) -> str:
        whole = list(self._pattern.tokens)
        for at, value in zip(self._stars, tokens[2:], strict=True):
            whole[at] = value
        return ".".join(whole)


def shares(instances: Iterable[str], mine: str, parts: int = PARTITIONS) -> list[int]:
    """Return the parts that fall to one of several routers: each part to exactly one that is there."""
    there = sorted({*instances, mine})
    return [part for part in range(parts) if there[part % len(there)] == mine]


def _star(token: str) -> str:
    return "*" if token in ("{key}", "{type}", "*") else token
