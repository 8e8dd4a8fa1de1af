"""The verbs as Lua scripts: read from the package, composed, and packed as commands."""

from __future__ import annotations

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
        text = "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
        # the protocol asks for SHA-1; nothing is protected by it
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        made[verb] = Script(_head("EVALSHA", digest, prefix), _head("EVAL", text, prefix))
    return made


def command(*words: str) -> bytes:
    """Return any other command, packed."""
    return b"*%d\r\n" % len(words) + b"".join(_word(word) for word in words)


def _head(name: str, script: str, prefix: str) -> bytes:
    return b"*6\r\n" + b"".join(_word(word) for word in (name, script, "1", prefix))


def _word(word: str) -> bytes:
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
