"""What looks like a secret: known forms, telling names, and texts that are as random as keys are. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, cast

from valhalla.kit.redact import is_secret_name, text

Path = tuple[str | int, ...]

_KNOWN: Final = re.compile(
    r"""
      \b(?:AKIA|ASIA)[0-9A-Z]{16}\b
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \b[sr]k_(?:live|test)_[A-Za-z0-9]{10,} | \bsk-[A-Za-z0-9_-]{20,}
    | \bxox[abposr]-[A-Za-z0-9-]{10,} | \bwhs[ek]c?_[A-Za-z0-9+/=]{20,} | \bAIza[\w-]{30,}
    | \bnpm_[A-Za-z0-9]{30,} | \bpypi-[\w-]{30,} | \bAGE-SECRET-KEY-1[0-9A-Z]{20,}
    """,
    re.VERBOSE,
)
_WORD: Final = re.compile(r"[A-Za-z0-9+/=_~.-]{20,}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")
# it names where the secret is
_REFERENCE: Final = re.compile(
    r"(?:vault|env|file|secret|arn|ssm|gcp|azure|op)://?\S+|\$\{[^}]*\}|env:\w+", re.IGNORECASE
)
_MOST: Final = 100_000


def find(key: str, value: Any) -> tuple[Path, str] | None:
    """Return where a value holds what looks like a secret, and why; None if nothing does."""
    for path, name, leaf in _leaves(value, (), key.rpartition("/")[2]):
        why = _looks(name, leaf)
        if why is not None:
            return path, why
    return None


def _leaves(value: Any, path: Path, name: str) -> Iterable[tuple[Path, str, str]]:
    if isinstance(value, str):
        yield path, name, value
    elif isinstance(value, dict):
        for member, each in cast("dict[str, Any]", value).items():
            yield from _leaves(each, (*path, member), member)
    elif isinstance(value, list):
        for n, each in enumerate(cast("list[Any]", value)):
            yield from _leaves(each, (*path, n), name)


def _looks(name: str, leaf: str) -> str | None:
    leaf = leaf[:_MOST]
    if not leaf or _REFERENCE.fullmatch(leaf):
        return None
    if is_secret_name(name):
        return "its name says so"
    if _KNOWN.search(leaf) is not None or text(leaf, limit=_MOST) != leaf:
        return "it has the form of one"
    for word in _WORD.findall(leaf):
        if _is_random(word):
            return "it is as random as a key"
    return None


def _is_random(word: str) -> bool:
    if _UUID.fullmatch(word):
        return False
    if _HEX.fullmatch(word):
        return entropy(word.lower()) > 3.0
    # words, paths and versions have separators, or letters of one kind
    kinds = sum(any(map(test, word)) for test in (str.isdigit, str.islower, str.isupper))
    return kinds == 3 and entropy(word) > 4.0 and not any(len(part) < 8 for part in re.split(r"[./_=-]+", word) if part)


def entropy(word: str) -> float:
    """Return the bits per character."""
    return -sum(n / len(word) * math.log2(n / len(word)) for n in Counter(word).values())
