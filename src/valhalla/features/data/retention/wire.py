"""Retention on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, Field

from valhalla.features.data.exports import ConditionIn
from valhalla.features.data.retention.contracts import Preview, Purge, Status
from valhalla.features.data.retention.looking import Standing
from valhalla.kit.http import WireModel


class PolicyModel(WireModel):
    """How long a category is kept. With `days` and `keep_last` a row goes only if neither keeps it."""

    days: int | None = Field(None, ge=0, le=36_500, examples=[90], description="older rows go; 0: all")
    keep_last: int | None = Field(None, ge=0, lt=2**40, description="so many of the newest rows never go")
    export_first: bool = Field(False, description="only what was written to a file before")
    enabled: bool = Field(True, description="false: nothing of the category is purged by the timetable")
    max_share: float = Field(0.5, gt=0, le=1, description="a larger part of the table waits for people")
    description: str | None = Field(None, max_length=500)


class HoldModel(WireModel):
    """Rows that stay whatever the policies say: those that fulfil every condition."""

    category: str = Field(min_length=1, max_length=64, examples=["logs"], description="or `*` for all data")
    reason: str = Field(min_length=1, max_length=1000, examples=["case 2026-17"])
    conditions: list[ConditionIn] = Field(default=[], max_length=50)
    since: AwareDatetime | None = Field(None, description="of the category's clock")
    until: AwareDatetime | None = None


class PurgeOut(WireModel):
    """One purge and its proof."""

    id: str
    category: str
    status: Status
    actor: str
    reason: str | None
    cutoff: datetime
    rows: int
    batches: int
    days: list[str] = Field(description="partitions that were dropped whole")
    oldest: datetime | None
    newest: datetime | None
    digest: str | None = Field(description="SHA-256 over the batches' digests of every key that went, in order")
    held: int | None = Field(description="rows that are old, and stay because of a hold")
    export: str | None
    error: dict[str, Any] | None
    job: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, one: Purge) -> Self:
        """Return the model of a purge."""
        values = {name: getattr(one, name) for name in cls.model_fields}
        values["days"] = list(one.days)
        values["error"] = None if one.error is None else dict(one.error)
        return cls(**values)


class PurgePage(WireModel):
    """One page of purges, the newest first."""

    items: list[PurgeOut]
    next: str | None


class CategoryOut(WireModel):
    """One category, bound to a table and its clock."""

    category: str
    table: str
    clock: str
    purged: bool = Field(description="whether anything of it may be purged")
    refused: str | None = Field(description="why not")
    by_day: bool = Field(description="whole days are dropped")
    default_days: float | None = Field(description="without a policy; null: for ever")
    policy: PolicyModel | None
    last: PurgeOut | None

    @classmethod
    def of(cls, one: Standing) -> Self:
        """Return the model of a category."""
        made, policy = one.category, one.policy
        shown = None if policy is None else {name: getattr(policy, name) for name in PolicyModel.model_fields}
        return cls(
            category=made.name,
            table=f"{made.relation.schema}.{made.relation.table}",
            clock=made.clock,
            purged=made.refused is None,
            refused=made.refused,
            by_day=made.partitioned,
            default_days=None if one.keep is None else one.keep.total_seconds() / 86_400,
            policy=None if shown is None else PolicyModel(**shown),
            last=None if one.last is None else PurgeOut.of(one.last),
        )


class CategoryList(WireModel):
    """Every category."""

    items: list[CategoryOut]


class PreviewOut(WireModel):
    """What a purge would take now; nothing was taken."""

    category: str
    cutoff: datetime | None = Field(description="older rows would go; null: none")
    total: int = Field(description="rows of the table; of a large one the planner's figure")
    rows: int
    held: int
    share: float
    oldest: datetime | None
    newest: datetime | None
    bytes: int = Field(description="their share of the table with its indexes")

    @classmethod
    def of(cls, one: Preview) -> Self:
        """Return the model of a preview."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class PurgeIn(WireModel):
    """A purge by the category's policy, now."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["asked by the customer"])]
    confirm: bool = Field(False, description="have it held for approval if it is a large part of the table")


class AskedOut(WireModel):
    """The purge that a job does, or the hold that it waits for."""

    purge: PurgeOut | None
    hold: str | None
