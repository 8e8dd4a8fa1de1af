"""Exports on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from valhalla.features.data.exports.contracts import Compression, Draft, Export, Format, Profile, Status
from valhalla.kit.http import WireModel
from valhalla.kit.relations import Condition

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
_Value = Annotated[str, Field(max_length=2000)] | bool | int | float


class ConditionIn(WireModel):
    """A comparison of a column, or of a member inside a JSON column, with a constant."""

    column: _Name = Field(examples=["level"])
    op: Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "prefix", "null"] = "eq"
    value: _Value | Annotated[list[_Value], Field(min_length=1, max_length=1000)] = Field(examples=[30])

    def condition(self) -> Condition:
        """Return the value."""
        value = self.value
        return Condition(self.column, self.op, list(value) if isinstance(value, list) else value)


class ExportIn(WireModel):
    """What is to be exported, and how."""

    source: str = Field(min_length=1, max_length=200, examples=["logs"], description="one of GET …/sources")
    format: Format | None = Field(None, description="csv when absent; sql is the form of dumps")
    compression: Compression | None = Field(None, description="none when absent, and zstd inside Parquet")
    profile: Profile = Field("standard", description="standard masks secrets, strict also persons; none: admins only")
    columns: list[_Name] = Field(default=[], max_length=200, description="all when empty")
    where: list[ConditionIn] = Field(default=[], max_length=50)
    since: AwareDatetime | None = Field(None, examples=["2026-01-01T00:00:00Z"])
    until: AwareDatetime | None = Field(None, description="now when absent")
    reason: str | None = Field(None, max_length=500)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.since is not None and self.until is not None and self.until < self.since:
            raise ValueError("it ends before it begins")
        return self

    def draft(self) -> Draft:
        """Return the value."""
        return Draft(
            source=self.source,
            format=self.format,
            compression=self.compression,
            profile=self.profile,
            columns=tuple(self.columns),
            conditions=tuple(one.condition() for one in self.where),
            since=self.since,
            until=self.until,
            reason=self.reason,
        )


class FileOut(WireModel):
    """One finished file."""

    name: str
    rows: int
    bytes: int
    sha256: str


class ExportOut(WireModel):
    """One export and how far it is."""

    id: str
    source: str
    format: Format
    compression: Compression
    profile: Profile
    columns: list[str]
    where: list[dict[str, Any]]
    since: datetime | None
    until: datetime | None
    status: Status
    actor: str
    reason: str | None
    job: str | None
    rows: int
    estimate: int | None = Field(description="rows that the planner expects; a guess")
    bytes: int = Field(description="of the files, so far")
    read: int = Field(description="bytes before compression, so far")
    eta: float | None = Field(description="seconds, at its pace and by that guess")
    files: list[FileOut]
    manifest: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    removed_at: datetime | None

    @classmethod
    def of(cls, one: Export) -> Self:
        """Return the model of an export."""
        same = ("id", "source", "format", "compression", "profile", "since", "until", "status", "actor", "reason")
        more = ("job", "rows", "estimate", "read", "created_at", "started_at", "finished_at", "removed_at")
        return cls(
            **{name: getattr(one, name) for name in (*same, *more)},
            columns=list(one.columns),
            where=[dict(each) for each in one.conditions],
            bytes=one.written,
            eta=one.eta(),
            files=[FileOut(name=f.name, rows=f.rows, bytes=f.bytes, sha256=f.sha256) for f in one.files],
            manifest=None if one.manifest is None else dict(one.manifest),
            error=None if one.error is None else dict(one.error),
            expires_at=one.expires_at if one.status == "completed" else None,
        )


class ExportPage(WireModel):
    """One page of exports, the newest first."""

    items: list[ExportOut]
    next: str | None


class SourceOut(WireModel):
    """Something that can be exported, and the scope that a key needs besides `exports:write`."""

    name: str
    scope: str


class SourceList(WireModel):
    """Everything that can be exported."""

    items: list[SourceOut]


class LinksIn(WireModel):
    """How long the addresses shall be valid."""

    seconds: int = Field(900, ge=1, le=604_800)
    model_config = {"json_schema_extra": {"examples": [{"seconds": 900}]}}


class LinkOut(WireModel):
    """The address of one file; that of the local store is a path of this server."""

    name: str
    url: str


class LinksOut(WireModel):
    """Addresses that give files to whoever has them."""

    items: list[LinkOut]
    expires_at: datetime
