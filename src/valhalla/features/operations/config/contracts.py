"""The values of configuration."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["string", "integer", "number", "boolean", "object", "array", "any"]


class Entry(msgspec.Struct, frozen=True):
    """One entry. ``environments`` have values of their own, ``value`` holds for all others.

    ``type`` and ``json_schema`` (JSON Schema, 2020-12) hold for every one of the values. What is not ``mutable`` keeps
    its values for ever. ``not_a_secret`` is the reason why what looks like a secret is none.
    """

    key: str
    value: Any = None
    type: Kind = "any"
    json_schema: dict[str, Any] | None = None
    environments: dict[str, Any] = {}
    mutable: bool = True
    not_a_secret: str | None = None
    owner: str | None = None
    description: str | None = None
