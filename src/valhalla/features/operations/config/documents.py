"""Configuration as a document: JSON, TOML or YAML. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final, Literal, cast

import msgspec
import tomli_w
import yaml

from valhalla.features.operations.config.errors import BadDocument

Form = Literal["json", "toml", "yaml"]
MEDIA: Final[Mapping[Form, str]] = {"json": "application/json", "toml": "application/toml", "yaml": "application/yaml"}
_DEPTH: Final = 64


def write(entries: Mapping[str, Mapping[str, Any]], form: Form) -> bytes:
    """Return the document of entries by key.

    Raises:
        BadDocument: TOML cannot say what must be said.
    """
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n"
    if form == "yaml":
        return yaml.safe_dump(dict(entries), allow_unicode=True, sort_keys=False, width=120).encode()
    for key, members in entries.items():
        if "null" in _kinds(members):
            raise BadDocument(f"'{key}' holds null, which TOML has no word for", help="Export as JSON or YAML.")
    return tomli_w.dumps(entries).encode()


def read(raw: bytes, form: Form) -> dict[str, dict[str, Any]]:
    """Return entries by key.

    Raises:
        BadDocument: it cannot be read, or is no table of tables.
    """
    try:
        text = raw.decode()
        found: Any = (
            _yaml(text) if form == "yaml" else tomllib.loads(text) if form == "toml" else msgspec.json.decode(raw)
        )
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadDocument(f"this is no {form.upper()}: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(found, dict):
        raise BadDocument("the document is no table of entries by key")
    entries: dict[str, dict[str, Any]] = {}
    for key, members in cast("dict[Any, Any]", found).items():
        if not isinstance(key, str) or not isinstance(members, dict):
            raise BadDocument(f"{str(key)[:64]!a} is no entry: write a table that holds its value")
        entries[key] = _plain(members, 0)
    return entries


def _yaml(text: str) -> Any:
    # an alias of an alias of an alias becomes gigabytes
    tokens = cast("Iterable[Any]", yaml.scan(text))  # pyright: ignore[reportUnknownMemberType]
    if any(isinstance(token, yaml.AliasToken) for token in tokens):
        raise ValueError("aliases are not taken")
    return yaml.safe_load(text)


def _plain(value: Any, depth: int) -> Any:
    """Return JSON: TOML and YAML have instants too."""
    if depth > _DEPTH:
        raise BadDocument(f"it is nested more than {_DEPTH} deep")
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {str(name): _plain(each, depth + 1) for name, each in cast("dict[Any, Any]", value).items()}
        case list():
            return [_plain(each, depth + 1) for each in cast("list[Any]", value)]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise BadDocument(f"a {type(value).__name__} has no form in JSON")


def _kinds(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset({"null"})
    if isinstance(value, dict):
        return frozenset[str]().union(*map(_kinds, cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return frozenset[str]().union(*map(_kinds, cast("list[Any]", value)))
    return frozenset()
