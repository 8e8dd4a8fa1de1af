"""The Lua scripts (the two verbs that callers share are one), read from the package, composed, packed as commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Final, Literal

from msgspec import Struct

Name = Literal["calls", "scan", "purge"]

_PARTS: Final[dict[Name, tuple[str, ...]]] = {
    "calls": ("rows", "limits", "begin", "cas", "calls"),
    "scan": ("rows", "scan"),
    "purge": ("rows", "purge"),
}
# words of a command before those of its requests
_HEAD: Final = 5

_CONSTANTS: Final = re.compile(r"^local ([A-Z, ]+) =\s+([0-9, ]+)$", re.MULTILINE)
# a word in capitals that is no string: 'LIMIT' is a command's, LIMIT a place
_WORD: Final = re.compile(r"(?<!['\w])[A-Z]+(?!['\w])")


class Script(Struct, frozen=True):
    """One script: ``short`` names it by its digest, ``full`` carries its text, for a server that lost it."""

    short: bytes
    full: bytes

    def by_digest(self, words: Sequence[bytes]) -> bytes:
        """Return the command that costs the fewest bytes."""
        return _command(self.short, words)

    def by_text(self, words: Sequence[bytes]) -> bytes:
        """Return the command that also teaches the server the script."""
        return _command(self.full, words)


def scripts(prefix: str, ledger: int) -> dict[Name, Script]:
    """Return the scripts for the keys that begin with ``prefix``; ``ledger`` is how many lines are kept."""
    folder = files(__package__ or "") / "lua"
    made: dict[Name, Script] = {}
    for name, parts in _PARTS.items():
        text = _inlined("".join((folder / f"{part}.lua").read_text("utf-8") for part in parts))
        # the protocol asks for SHA-1; nothing is protected by it
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        short, full = (
            b"".join(map(_word, (command, script, "1", prefix, str(ledger))))
            for command, script in (("EVALSHA", digest), ("EVAL", text))
        )
        made[name] = Script(short, full)
    return made


def _inlined(text: str) -> str:
    """Put the numbers of places where their names are: a name that functions share costs each of them in every call."""
    numbers: dict[str, str] = {}
    for found in _CONSTANTS.finditer(text):
        numbers |= dict(zip(found[1].replace(" ", "").split(","), found[2].replace(" ", "").split(","), strict=True))
    return _WORD.sub(lambda word: numbers.get(word[0], word[0]), _CONSTANTS.sub("", text))


def command(*words: str) -> bytes:
    """Return any other command, packed."""
    return b"*%d\r\n" % len(words) + b"".join(_word(word) for word in words)


def _command(head: bytes, words: Sequence[bytes]) -> bytes:
    parts = [b"*%d\r\n%b" % (len(words) + _HEAD, head)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def _word(word: str) -> bytes:
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
