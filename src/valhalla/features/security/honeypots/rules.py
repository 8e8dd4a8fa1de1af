"""Which decoys can be, what a request touches, and which events are taken: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from valhalla.features.security.honeypots.contracts import SCORES, Caught, Decoy, Honeypot
from valhalla.features.security.honeypots.errors import BadDecoy, BadEvent
from valhalla.features.security.honeypots.reading import Read

NAME: Final = r"[a-z0-9][a-z0-9_.-]{0,62}"
OLDEST: Final = timedelta(hours=24)
AHEAD: Final = timedelta(minutes=5)
HIGHEST: Final = 1_000
# what is really there must not be hidden by a decoy
_REAL: Final = ("/api/", "/system/", "/console", "/v1/", "/ofrep/", "/problems/", "/ws", "/docs", "/openapi.json")
_PROBES: Final = ("/live", "/ready", "/health", "/metrics")
_PATH: Final = re.compile(r"/[\x21-\x29\x2b-\x7e]*\*?")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{12,128}")
_WORDS: Final = re.compile(r"[A-Za-z0-9_-]{12,128}")
_LONGEST: Final = 4_096


def check(decoy: Decoy) -> None:
    """Accept a decoy that can be put up.

    Raises:
        BadDecoy: it cannot.
    """
    if re.fullmatch(NAME, decoy.name) is None:
        raise BadDecoy("a decoy's name is 1 to 63 of a-z, 0-9, '_', '.' and '-', a letter or digit first")
    if decoy.score is not None and not 0 <= decoy.score <= HIGHEST:
        raise BadDecoy(f"a score is from 0 to {HIGHEST}")
    given = {"path": decoy.path, "key": decoy.digest, "canary": decoy.word}
    if given[decoy.kind] is None or any(value is not None for kind, value in given.items() if kind != decoy.kind):
        raise BadDecoy("a 'path' has a path, a 'canary' a word, and a 'key' is made by POST …/decoys/keys")
    if decoy.path is not None:
        _check_path(decoy.path)
    if decoy.word is not None and _WORD.fullmatch(decoy.word) is None:
        raise BadDecoy("a canary's word is 12 to 128 of A-Z, a-z, 0-9, '_' and '-', so that nobody says it by chance")


def _check_path(path: str) -> None:
    if len(path) > 300 or _PATH.fullmatch(path) is None or len(path) < 4:
        raise BadDecoy("a path is written '/.env' or '/wp-admin/*', a star only at its end")
    plain = path.lower().rstrip("*")
    if plain.startswith((*_REAL, *_PROBES)) or any(real.startswith(plain) for real in (*_REAL, *_PROBES)):
        raise BadDecoy("a decoy must not hide what is really there")


def check_honeypot(honeypot: Honeypot) -> None:
    """Accept a honeypot that can be stored.

    Raises:
        BadDecoy: its name cannot be, or its metadata is too large.
    """
    if re.fullmatch(NAME, honeypot.name) is None:
        raise BadDecoy("a honeypot's name is 1 to 63 of a-z, 0-9, '_', '.' and '-', a letter or digit first")
    if len(honeypot.metadata) > 50 or len(str(honeypot.metadata)) > 8_192:
        raise BadDecoy("metadata has at most 50 members and 8 KiB")


class Bait:
    """The decoys that are up: most requests cost two look-ups."""

    __slots__ = ("_below", "_exact", "_keys", "_words")

    def __init__(self, decoys: Iterable[Decoy]) -> None:
        up = [decoy for decoy in decoys if decoy.enabled]
        paths = [(decoy.path.lower(), decoy) for decoy in up if decoy.path is not None]
        self._exact = {path: decoy for path, decoy in paths if not path.endswith("*")}
        # the longest first: what says most of a path is it
        below = sorted(
            ((path[:-1], decoy) for path, decoy in paths if path.endswith("*")), key=lambda each: -len(each[0])
        )
        self._below: Mapping[str, Decoy] = dict(below)
        self._words = {decoy.word: decoy for decoy in up if decoy.word is not None}
        self._keys = {decoy.digest: decoy for decoy in up if decoy.digest is not None}

    def find(self, path: str, query: bytes) -> Decoy | None:
        """Return what a request touches. Who scans also tries other cases and doubled slashes."""
        plain = path.lower()
        if plain.startswith("//"):
            plain = "/" + plain.lstrip("/")
        found = self._exact.get(plain)
        if found is not None:
            return found
        if self._below and plain.startswith(tuple(self._below)):
            return next(decoy for prefix, decoy in self._below.items() if plain.startswith(prefix))
        return self._canary(path, query) if self._words else None

    def key(self, digest: str) -> Decoy | None:
        """Return the decoy key of a digest."""
        return self._keys.get(digest)

    def _canary(self, path: str, query: bytes) -> Decoy | None:
        text = f"{path[:_LONGEST]} {query[:_LONGEST].decode('latin-1')}"
        return next((self._words[word] for word in _WORDS.findall(text) if word in self._words), None)


def score_of(decoy: Decoy) -> int:
    """Return how much touching a decoy says."""
    if decoy.score is not None:
        return decoy.score
    return SCORES[{"path": "decoy_path", "key": "decoy_key", "canary": "canary"}[decoy.kind]]  # type: ignore[index]


def caught(read: Read, honeypot: str, now: datetime) -> Caught:
    """Return an event of a honeypot.

    Raises:
        BadEvent: it is older than a day, or from the future: a replay would meet nothing that it repeats.
    """
    if read.at < now - OLDEST:
        raise BadEvent("it is older than a day")
    if read.at > now + AHEAD:
        raise BadEvent("it is from the future")
    uid = hashlib.sha256(f"{honeypot}\0{read.identity}".encode()).hexdigest()[:40]
    return Caught(read.at, uid, honeypot, read.kind, read.service, read.address, SCORES[read.kind], read.payload)
