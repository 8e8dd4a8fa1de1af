"""A condition as tokens: what it asks for and how large it is, before the engine sees it. Pure.

The engine bounds nothing but nesting, and compiles a regular expression anew at every call; so what could take long is
refused here, and patterns are handed to a function that has them compiled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from valhalla.features.security.policies.contracts import COUNTERS, MOST_COUNTED
from valhalla.features.security.policies.errors import BadCondition

LONGEST: Final = 2_000
MOST_TOKENS: Final = 400
DEEPEST: Final = 20
MOST_LOOPS: Final = 2
MOST_PATTERNS: Final = 3
LONGEST_PATTERN: Final = 200
FITS: Final = "fits_"
"""What ``matches`` is called in the text that the engine gets."""

_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<text>[rRbB]{0,2}(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9][0-9A-Fa-fxXuU.]*(?:[eE][+-]?[0-9]+)?)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_REPEATED: Final = re.compile(r"\{[0-9,]*[0-9]{3}")


Edit = tuple[int, int, str]
"""What stands from one character to another is written as something else."""


class Token(NamedTuple):
    """One token; ``depth`` counts the brackets around it."""

    kind: str
    text: str
    depth: int
    at: int


class Read(NamedTuple):
    """What a condition asks for.

    ``members`` maps a variable to the members that it is asked for, ``None`` for all of them. ``counted`` are counters
    that must have counted something for the condition to hold at all: where they have not, nobody need ask.
    """

    text: str
    members: Mapping[str, frozenset[str] | None]
    bound: frozenset[str]
    patterns: tuple[str, ...]
    counted: frozenset[str]


def read(text: str, known: Mapping[str, frozenset[str]]) -> Read:
    """Read a condition; ``known`` has the variables and their members.

    Raises:
        BadCondition: it is too large, could take too long, or asks for what is not there.
    """
    tokens = _tokens(text)
    _bound_loops(tokens)
    _bound_counts(tokens)
    bound = _bound_names(tokens)
    if taken := bound & known.keys():
        raise BadCondition(f"'{min(taken)}' is a variable: go through lists by another name")
    patterns, edits = _patterns(tokens)
    members = _members(tokens, known)
    for start, end, new in sorted([*edits, *_flattened(tokens, members)], reverse=True):
        text = text[:start] + new + text[end:]
    return Read(text, members, bound, patterns, _counted(tokens))


def flat(name: str, member: str) -> str:
    """Return what a member is called in the text that the engine gets: a map costs it as much as all that is in it."""
    return f"{name}__{member}"


def _tokens(text: str) -> list[Token]:
    if not text.strip() or len(text) > LONGEST:
        raise BadCondition(f"a condition has 1 to {LONGEST} characters")
    found: list[Token] = []
    depth = at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadCondition(f"character {at + 1} begins nothing that CEL knows")
        kind = match.lastgroup or ""
        if kind != "space":
            closes, opens = match[0] in ")]}", match[0] in "([{"
            depth -= closes
            found.append(Token(kind, match[0], depth, at))
            depth += opens
            if depth > DEEPEST:
                raise BadCondition(f"brackets are nested deeper than {DEEPEST}")
        at = match.end()
    if len(found) > MOST_TOKENS:
        raise BadCondition(f"a condition has at most {MOST_TOKENS} words and signs, this one has {len(found)}")
    return found


def _calls(tokens: Sequence[Token], names: frozenset[str]) -> list[int]:
    """Return where a method of ``names`` is called."""
    return [
        number
        for number in range(1, len(tokens) - 1)
        if tokens[number].text in names and tokens[number - 1].text == "." and tokens[number + 1].text == "("
    ]


def _bound_loops(tokens: Sequence[Token]) -> None:
    loops = _calls(tokens, _MACROS)
    if len(loops) > MOST_LOOPS:
        raise BadCondition(f"a condition goes through lists at most {MOST_LOOPS} times ({', '.join(sorted(_MACROS))})")
    for number in loops:
        end = next((each.at for each in tokens[number + 2 :] if each.depth <= tokens[number + 1].depth), None)
        for other in loops:
            if other > number and (end is None or tokens[other].at < end):
                raise BadCondition("a condition goes through a list within a list")
        if tokens[number - 2].text in (")", "]") and any(tokens[other].at < tokens[number].at for other in loops):
            raise BadCondition("a condition goes through what it made of a list")


def _bound_names(tokens: Sequence[Token]) -> frozenset[str]:
    return frozenset(tokens[number + 2].text for number in _calls(tokens, _MACROS) if number + 2 < len(tokens))


def _bound_counts(tokens: Sequence[Token]) -> None:
    for number in range(len(tokens) - 4):
        name, sign, value = (tokens[number + step] for step in (2, 3, 4))
        asked = tokens[number].text == "counters" and sign.text in (">", ">=", "==") and value.kind == "number"
        if asked and value.text.isdigit() and int(value.text) + (sign.text == ">") > MOST_COUNTED:
            raise BadCondition(f"counters stop at {MOST_COUNTED}: '{name.text}' never gets there")


def _patterns(tokens: Sequence[Token]) -> tuple[tuple[str, ...], list[Edit]]:
    """Return the regular expressions, and what lets ``matches`` be called by our own name."""
    found: list[str] = []
    edits: list[Edit] = []
    for number in _calls(tokens, frozenset({"matches"})):
        if number + 3 >= len(tokens) or tokens[number + 2].kind != "text" or tokens[number + 3].text != ")":
            raise BadCondition("matches() takes a text that is written there, not one that is computed")
        found.append(_literal(tokens[number + 2].text))
        edits.append((tokens[number].at, tokens[number].at + len("matches"), FITS))
    if len(found) > MOST_PATTERNS:
        raise BadCondition(f"a condition has at most {MOST_PATTERNS} regular expressions")
    if any(token.text in ("matches", FITS) and token.kind == "name" for token in _others(tokens)):
        raise BadCondition("write text.matches('pattern')")
    return tuple(found), edits


def _others(tokens: Sequence[Token]) -> list[Token]:
    called = set(_calls(tokens, frozenset({"matches"})))
    return [token for number, token in enumerate(tokens) if number not in called]


def _literal(written: str) -> str:
    """Return the text of a literal; those of regular expressions hold few escapes."""
    prefix = len(written) - len(written.lstrip("rRbB"))
    if "b" in written[:prefix].lower() or written[prefix : prefix + 3] in ('"""', "'''"):
        raise BadCondition("a regular expression is written in single or double quotes")
    inner = written[prefix + 1 : -1]
    if prefix == 0:
        if re.sub(r"\\\\", "", inner).count("\\"):
            raise BadCondition(r"write a regular expression with backslashes as r'\d+'")
        inner = inner.replace("\\\\", "\\")
    if len(inner) > LONGEST_PATTERN or _REPEATED.search(inner):
        raise BadCondition(f"a regular expression has at most {LONGEST_PATTERN} characters and repeats less than 100")
    return inner


def _members(tokens: Sequence[Token], known: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str] | None]:
    """Return the known variables that are asked for, with their members; ``None``: it has none."""
    found: dict[str, frozenset[str] | None] = {}
    for number, token in enumerate(tokens):
        if token.kind != "name" or token.text not in known or (number and tokens[number - 1].text == "."):
            continue
        name, there = token.text, known[token.text]
        if not there:
            found[name] = None
            continue
        following = [each.text for each in tokens[number + 1 : number + 3]]
        if len(following) < 2 or following[0] != ".":
            raise BadCondition(f"'{name}' is asked for one of its members: {', '.join(sorted(there))}")
        if following[1] not in there:
            raise BadCondition(f"{name} has no {following[1][:40]!a}; it has {', '.join(sorted(there))}")
        found[name] = (found.get(name) or frozenset()) | {following[1]}
    return found


def _flattened(tokens: Sequence[Token], members: Mapping[str, frozenset[str] | None]) -> list[Edit]:
    edits: list[Edit] = []
    for number, token in enumerate(tokens):
        if token.kind != "name" or members.get(token.text) is None or (number and tokens[number - 1].text == "."):
            continue
        last = tokens[number + 2]
        start, end, new = token.at, last.at + len(last.text), flat(token.text, last.text)
        around = [each.text for each in (*tokens[max(0, number - 2) : number], *tokens[number + 3 : number + 4])]
        if around == ["has", "(", ")"]:
            # what is known is always there
            start, end, new = tokens[number - 2].at, tokens[number + 3].at + 1, "true"
        edits.append((start, end, new))
    return edits


def _counted(tokens: Sequence[Token]) -> frozenset[str]:
    """Return the counters that a conjunction needs above zero."""
    top = [token.text for token in tokens if token.depth == 0]
    if "||" in top or "?" in top:
        return frozenset()
    found: set[str] = set()
    for number, token in enumerate(tokens):
        part = [each.text for each in tokens[number : number + 6]]
        begins = number == 0 or tokens[number - 1].text == "&&"
        if token.depth or not begins or part[0] != "counters" or part[5:] not in ([], ["&&"]) or len(part) < 5:
            continue
        known = part[2].removesuffix("_hour") in COUNTERS and part[1] == "." and part[4].isdigit()
        if known and ((part[3] == ">=" and int(part[4]) >= 1) or part[3] == ">"):
            found.add(part[2])
    return frozenset(found)
