"""Which entries can be meant, and what holds in an environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from valhalla.features.operations.config import secrets
from valhalla.features.operations.config.contracts import Entry
from valhalla.features.operations.config.errors import BadEntry, LooksSecret
from valhalla.kit.registry.plan import same

KEY: Final = r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,254}"
ENVIRONMENT: Final = r"[a-z][a-z0-9-]{0,31}"
MAX_VALUE: Final = 512 * 1024
_FIXED: Final = ("value", "type", "json_schema", "environments", "mutable")

Path = tuple[str | int, ...]


def check(entry: Entry) -> None:
    """Accept an entry whose every value fits.

    Raises:
        BadEntry: one does not, or the schema is none.
        LooksSecret: one looks like a secret.
    """
    for name in entry.environments:
        if re.fullmatch(ENVIRONMENT, name) is None:
            raise _bad(("environments", name), f"the name of an environment has the form {ENVIRONMENT}")
    validator = _validator(entry)
    for path, value in values(entry):
        if len(msgspec.json.encode(value)) > MAX_VALUE:
            raise _bad(path, f"a value has up to {MAX_VALUE // 1024} KiB")
        error = next(iter(validator.iter_errors(value)), None)
        if error is not None:
            # the library's message repeats the value, which may be what nobody shall read
            rule = "/".join(map(str, error.schema_path))
            raise _bad((*path, *error.instance_path), f"this breaks '{rule}' of its type or schema")
    if not entry.not_a_secret:
        _check_secrets(entry)


def value_in(entry: Entry, environment: str) -> Any:
    """Return what holds in an environment."""
    return entry.environments.get(environment, entry.value)


def values(entry: Entry) -> Iterable[tuple[Path, Any]]:
    """Return every value and where it is."""
    yield ("value",), entry.value
    for name, value in entry.environments.items():
        yield ("environments", name), value


def is_kept(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Say whether a change leaves what an immutable entry keeps."""
    return all(same(before.get(name), after.get(name)) for name in _FIXED)


def _validator(entry: Entry) -> Any:
    raw = msgspec.json.encode([entry.type, entry.json_schema], order="deterministic")
    try:
        return _compiled(raw)
    except ValueError as error:
        raise _bad(("json_schema",), f"this is no JSON Schema: {str(error).splitlines()[0][:200]}") from error


@lru_cache(maxsize=512)
def _compiled(raw: bytes) -> Any:
    kind, schema = msgspec.json.decode(raw)
    parts = [] if kind == "any" else [{"type": kind}]
    if schema is not None:
        jsonschema_rs.meta.validate(schema)
        parts.append(schema)
    whole = {"allOf": parts} if parts else {}
    return jsonschema_rs.Draft202012Validator(whole, retriever=_offline, validate_formats=True)


def _offline(uri: str) -> Any:
    # a schema must not make the control plane ask other hosts
    raise ValueError("a schema refers to nothing outside of itself")


def _check_secrets(entry: Entry) -> None:
    for path, value in values(entry):
        found = secrets.find(entry.key, value)
        if found is not None:
            inner, why = found
            raise LooksSecret(f"{_pointer((*path, *inner))}: {why}", errors=[_error((*path, *inner), why)])


def _bad(path: Path, detail: str) -> BadEntry:
    return BadEntry(f"{_pointer(path)}: {detail}", errors=[_error(path, detail)])


def _error(path: Path, detail: str) -> dict[str, str]:
    return {"in": "body", "pointer": _pointer(path), "detail": detail}


def _pointer(path: Path) -> str:
    return "".join(f"/{str(part)[:128].replace('~', '~0').replace('/', '~1')}" for part in path)
