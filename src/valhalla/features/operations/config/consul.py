"""Consul's key-value reads: the forms that its stock clients expect. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from valhalla.features.operations.config import rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.kit.registry import Record

MAX_WAIT: Final = 600.0
DEFAULT_WAIT: Final = 300.0
_WAIT: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, index and document; ``None`` for an empty body, bytes for a raw value."""

    status: int
    index: int
    body: Any


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the store is asked for."""

    key: str
    recurse: bool = False
    keys: bool = False
    raw: bool = False
    separator: str | None = None


def answer(records: Mapping[str, Record[Entry]], revision: int, asked: Asked, environment: str) -> Answer:
    """Return what Consul would; a single key's index is its own, all others are the registry's."""
    index = max(1, revision)
    if asked.keys or asked.recurse:
        found = sorted(key for key in records if key.startswith(asked.key))
        if not found:
            return Answer(404, index, None)
        if asked.keys:
            return Answer(200, index, _names(found, asked.key, asked.separator))
        return Answer(200, index, [_pair(key, records[key], environment) for key in found])
    record = records.get(asked.key)
    if record is None:
        return Answer(404, index, None)
    if asked.raw:
        return Answer(200, record.version, raw(rules.value_in(record.value, environment)))
    return Answer(200, record.version, [_pair(asked.key, record, environment)])


def seconds(text: str | None) -> float | None:
    """Return how long to wait for a change: ``10s``, ``5m``; None for what has not that form."""
    if text is None:
        return DEFAULT_WAIT
    found = _WAIT.fullmatch(text)
    return None if found is None else min(MAX_WAIT, float(found[1]) * _UNITS[found[2]])


def raw(value: Any) -> bytes:
    """Return a value's bytes: a text as it is, everything else as JSON."""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _pair(key: str, record: Record[Entry], environment: str) -> dict[str, Any]:
    value = raw(rules.value_in(record.value, environment))
    return {
        "LockIndex": 0,
        "Key": key,
        "Flags": 0,
        # Consul has null for a value without bytes
        "Value": base64.b64encode(value).decode() or None,
        "CreateIndex": record.version,
        "ModifyIndex": record.version,
    }


def _names(found: list[str], prefix: str, separator: str | None) -> list[str]:
    if not separator:
        return found
    cut: dict[str, None] = {}
    for key in found:
        at = key.find(separator, len(prefix))
        cut[key if at < 0 else key[: at + len(separator)]] = None
    return list(cut)
