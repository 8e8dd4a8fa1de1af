"""Configuration on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from valhalla.features.operations.config.contracts import Kind
from valhalla.features.operations.config.documents import Form
from valhalla.kit.http import WireModel


class EntryModel(WireModel):
    """An entry as clients write it."""

    value: Any = Field(None, examples=[250], description="what holds where an environment has nothing else")
    type: Kind = "any"
    json_schema: dict[str, Any] | None = Field(None, description="JSON Schema (2020-12) of every value")
    environments: dict[str, Any] = Field({}, max_length=50, description="values of their own, by environment")
    mutable: bool = Field(True, description="false: it keeps its values for ever")
    not_a_secret: str | None = Field(
        None, min_length=1, max_length=500, description="why what looks like a secret is none"
    )
    owner: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=1000)


class ValuesOut(WireModel):
    """What holds in one environment, at one revision."""

    revision: str
    environment: str
    values: dict[str, Any] | None = Field(None, description="all of them; absent where only the difference is told")
    changed: dict[str, Any] | None = Field(None, description="what differs from the revision that was watched")
    removed: list[str] | None = Field(None, description="and what is gone")


class ImportQuery(WireModel):
    """How to import."""

    form: Form = "json"
    dry_run: bool = Field(False, description="say what would change, and change nothing")
    reason: str | None = Field(None, max_length=500)


class ExportQuery(WireModel):
    """How to export."""

    form: Form = "json"
