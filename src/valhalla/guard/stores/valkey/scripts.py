"""The verbs as Lua scripts: read from the package, composed, and packed as commands."""

from __future__ import annotations

import re
from hashlib import sha1
from importlib.resources import files
from typing import Final, Literal

from msgspec import Struct

Verb = Literal["begin", "cas", "scan", "purge"]

_PARTS: Final[dict[Verb, tuple[str, ...]]] = {
    "begin": ("rows", "limits", "begin"),
    "cas": ("rows", "limits", "cas"),
    "scan": ("rows", "scan"),
    "purge": ("rows", "purge"),
}


_CONSTANTS: Final = re.compile(r"^local ([A-Z, ]+) =\s+([0-9, ]+)$", re.MULTILINE)
# a word in capitals that is no string: 'LIMIT' is a command's, LIMIT a place
_WORD: Final = re.compile(r"(?<!['\w])[A-Z]+(?!['\w])")


class Script(Struct, frozen=True):
    """One verb: ``short`` names the script by its digest, ``full`` carries its text, for a server that lost it."""

    short: bytes
    full: bytes

    def by_digest(self, request: bytes, mark: bytes) -> bytes:
        """Return the command that costs the fewest bytes."""
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self.short, len(request), request, len(mark), mark)

    def by_text(self, request: bytes, mark: bytes) -> bytes:
        """Return the command that also teaches the server the script."""
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self.full, len(request), request, len(mark), mark)


def scripts(prefix: str) -> dict[Verb, Script]:
    """Return the verbs for the keys that begin with ``prefix``."""
    folder = files(__package__ or "") / "lua"
    made: dict[Verb, Script] = {}
    for verb, parts in _PARTS.items():
        text = _inlined("".join((folder / f"{part}.lua").read_text("utf-8") for part in parts))
        # the protocol asks for SHA-1; nothing is protected by it
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        made[verb] = Script(_head("EVALSHA", digest, prefix), _head("EVAL", text, prefix))
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


def _head(name: str, script: str, prefix: str) -> bytes:
    return b"*6\r\n" + b"".join(_word(word) for word in (name, script, "1", prefix))


def _word(word: str) -> bytes:
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
