"""Take secrets out of values before they are stored or logged, and make what is left plain JSON.

The result is what Postgres' ``jsonb`` gives back unchanged, so that a MAC over it holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, cast
from uuid import UUID

from valhalla.kernel.clock import isoformat

MASK: Final = "***"
MAX_TEXT: Final = 4096
MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 1000
MAX_NODES: Final = 10_000

_NAMES: Final = (
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "authorization",
    "cookie",
    "credential",
    "private",
    "seed",
    "creds",
)
_hidden: tuple[str, ...] = _NAMES
_SECRETS: Final = re.compile(
    r"""
      -----BEGIN\ [A-Z ]*-----.*?(?:-----END\ [A-Z ]*-----|\Z)     # PEM and NATS credential blocks
    | \bvh_[A-Za-z0-9_-]{8,}                                        # our own keys
    | \beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?   # JWT
    | (?<![A-Z0-9])S[OAUNC][A-Z2-7]{54,}                            # nkey seeds
    """,
    re.VERBOSE | re.DOTALL,
)
# a word that merely follows "bearer" has neither the length nor the characters of a token
_BEARER: Final = re.compile(r"(?i)(\bbearer\s+)(?=[^\s,;\"']{16}|[^\s,;\"']*[0-9._~+/=-])[^\s,;\"']{6,}")
_USERINFO: Final = re.compile(r"(?<=://)([^\s/?#@:]*):([^\s/?#]*)@")
_CARD: Final = re.compile(r"(?<![0-9A-Za-z.])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")
# issuers' prefixes and lengths: Luhn alone takes one in ten of all long ids for a card
_ISSUERS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11,16}|35\d{14,17}|6(?:011|4[4-9]\d|[25]\d\d)\d{12,15}|(?:5[0678]|6[37])\d{11,17}"
)
_SHORT: Final = 40
_HARMLESS: Final = re.compile(r"[A-Za-z0-9._:+-]*")
_SEED: Final = re.compile("S[OAUNC][A-Z2-7]{54}")
# only where a run of digits begins, else a long number is searched once per digit
_LONG_NUMBER: Final = re.compile("(?<![0-9])[0-9]{13}")
# a lone surrogate has no UTF-8 form and jsonb cannot hold a NUL
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def text(value: str, *, limit: int = MAX_TEXT) -> str:
    """Return ``value`` with what looks like a secret replaced, cut after ``limit`` characters."""
    if (
        type(value) is str
        and len(value) <= _SHORT
        and _HARMLESS.fullmatch(value)
        and "vh_" not in value
        and "eyJ" not in value
    ):
        # ids, names and instants, most of what is written: shorter than a seed, without the marks of the others
        return _CARD.sub(_mask_card, value)
    # cut twice: patterns must not run over megabytes, and what straddles the limit must be recognised whole
    cut = len(value) > limit
    value = storable(value[: 2 * limit])
    value = _SECRETS.sub(MASK, value)
    value = _BEARER.sub(rf"\1{MASK}", value)
    value = _USERINFO.sub(rf"\1:{MASK}@", value)
    value = _CARD.sub(_mask_card, value)
    return value[:limit] + "…[cut]" if cut or len(value) > limit else value


def may_change(value: str) -> bool:
    """Say whether ``text`` could change ``value``; so cheap that many short texts joined by newlines are one search."""
    return (
        "-----BEGIN " in value
        or "vh_" in value
        or "eyJ" in value
        or "://" in value
        or "bearer" in value.lower()
        or _SEED.search(value) is not None
        or _LONG_NUMBER.search(value.replace(" ", "").replace("-", "")) is not None
        or _UNSTORABLE.search(value) is not None
    )


def storable(value: str) -> str:
    """Return ``value`` in a form that Postgres can store: without NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", value)


def redact(value: object, *, names: Iterable[str] = ()) -> Any:
    """Return a plain JSON copy of any value without its secrets. Never raises; cycles and depth are bounded.

    ``names`` are further parts of member names whose values are secret.
    """
    return _Walk((*_hidden, *(name.lower() for name in names))).value(value, 0)


def hide(names: Iterable[str]) -> None:
    """Take these parts of names for those of secrets everywhere in this process, beside the known ones."""
    global _hidden  # noqa: PLW0603 - said once, by a process' settings, and asked for in every line of its logs
    _hidden = (*_NAMES, *(name.lower() for name in names if name.strip()))


def secret_names() -> tuple[str, ...]:
    """Return the parts of names, in small letters, whose members hold secrets: for who masks elsewhere than here."""
    return _hidden


def is_secret_name(name: str, names: Iterable[str] = ()) -> bool:
    """Say whether a member called ``name`` holds a secret."""
    return _is_secret(name, (*_hidden, *names))


@lru_cache(maxsize=4096)
def _is_secret(name: str, parts: tuple[str, ...]) -> bool:
    lowered = name.lower()
    return any(part in lowered for part in parts)


def _mask_card(match: re.Match[str]) -> str:
    number = re.sub(r"[ -]", "", match[0])
    digits = map(int, reversed(number))
    total = sum(d if i % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(digits))
    return MASK if total % 10 == 0 and _ISSUERS.fullmatch(number) else match[0]


class _Walk:
    """One pass over one value; remembers which containers it is inside of."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._inside: set[int] = set()
        self._left = MAX_NODES

    def value(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return "[cut]"
        try:
            return self._value(value, depth)
        except Exception as error:  # noqa: BLE001 - a hostile value must not stop the caller's transaction
            return f"[unreadable: {type(error).__name__}]"

    def _value(self, value: object, depth: int) -> Any:  # noqa: PLR0911 - one line per type
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1)
        if isinstance(value, str):
            return text(value)
        if isinstance(value, int):
            return self._integer(int(value))
        if isinstance(value, float):
            return number(float(value)) if math.isfinite(value) else None
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._container(cast("Any", value), depth)
        return self._scalar(value)

    def _integer(self, value: int) -> Any:
        if not -(2**63) <= value < 2**64:
            return MASK if value.bit_length() > 10_000 else text(str(value))
        # a card number is one also without quotes
        return value if 0 <= value < 10**12 or text(str(value)) != MASK else MASK

    def _container(self, value: Any, depth: int) -> Any:
        identity = id(value)
        if identity in self._inside:
            return "[cycle]"
        if depth >= MAX_DEPTH:
            return "[too deep]"
        self._inside.add(identity)
        try:
            walk = self._mapping if isinstance(value, Mapping) else self._sequence
            return walk(cast("Any", value), depth)
        finally:
            self._inside.discard(identity)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for index, (key, member) in enumerate(value.items()):
            if index == MAX_ITEMS:
                out["…"] = f"[{len(value) - MAX_ITEMS} more]"
                break
            name = text(key if isinstance(key, str) else str(self._scalar(key)))
            # yes, no and nothing are no secrets
            hidden = _is_secret(name, self._names) and not isinstance(member, (bool, type(None)))
            out[name] = MASK if hidden else self.value(member, depth + 1)
        return out

    def _sequence(self, value: Any, depth: int) -> list[Any]:
        items: list[Any] = []
        for index, item in enumerate(value):
            if index == MAX_ITEMS:
                items.append(f"[{len(value) - MAX_ITEMS} more]")
                break
            items.append(self.value(item, depth + 1))
        return items if not isinstance(value, (set, frozenset)) else sorted(items, key=repr)

    def _scalar(self, value: object) -> str:  # noqa: PLR0911 - one line per type
        if type(value).__name__ in ("SecretStr", "SecretBytes", "Secret"):
            return MASK
        if isinstance(value, datetime):
            return isoformat(value) if value.tzinfo is not None else value.isoformat()
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return f"{value.total_seconds()} s"
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"[{len(cast('bytes', value))} bytes]"
        if value is None or isinstance(value, (UUID, Decimal, int, float, BaseException)):
            return text(str(value))
        # a repr may print any member, so only the type is told
        return f"[{type(value).__name__}]"


def number(value: float) -> float | int:
    """Return what ``jsonb`` and orjson make of a finite float: a whole one within 64 bits comes back as an integer."""
    return int(value) if value.is_integer() and -(2.0**63) <= value < 2.0**64 else value
