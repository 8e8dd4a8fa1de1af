"""Rate limits on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from valhalla.features.operations.limits.contracts import Count, Kind, Scope
from valhalla.kit.http import WireModel

_Route = Annotated[str, Field(max_length=300)]


class LimitModel(WireModel):
    """A rule as clients write it."""

    rate: str = Field(max_length=64, examples=["100/minute"], description="no window of this length sees more")
    scope: Scope = Field("key", description="who shares one count")
    kind: Kind = Field("gcra", description="gcra: about 60 bytes per subject; exact: remembers every request")
    burst: int | None = Field(None, ge=1, description="of gcra: how many at once; half the capacity when absent")
    subjects: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default=[], max_length=100, description="only these networks, owners or key ids; all when empty"
    )
    routes: list[_Route] = Field(default=[], max_length=100, examples=[["POST /api/sandboxes", "/system/*"]])
    costs: dict[_Route, Annotated[int, Field(ge=1)]] = Field(
        default={}, max_length=100, examples=[{"POST /api/sandboxes": 5}], description="what a request takes; else 1"
    )
    count: Count = Field("process", description="each process for itself, or the fleet together")
    strict: bool = Field(False, description="of fleet: wait for the shared count instead of taking shares ahead")
    shadow: bool = Field(False, description="refuse nothing, count what would have been refused")
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


class TestIn(WireModel):
    """A request to think through."""

    method: str = Field("GET", max_length=20)
    path: str = Field(max_length=2000, examples=["/api/sandboxes"])
    route: str | None = Field(None, max_length=500, description="the template of its route; the path when absent")
    address: str | None = Field(None, max_length=60, examples=["203.0.113.7"])
    owner: str | None = Field(None, max_length=63)
    key: str | None = Field(None, max_length=64, description="the id of an API key")


class Verdict(WireModel):
    """What one rule says to it."""

    name: str
    counts: bool
    subject: str | None
    cost: int
    allowed: bool
    shadow: bool
    limit: int
    window: float = Field(description="seconds")
    remaining: int | None = Field(description="now, in this process")
    reset: float | None = Field(description="seconds until full again")
    retry_after: float | None


class TestOut(WireModel):
    """What would become of it; nothing was taken."""

    allowed: bool
    verdicts: list[Verdict]


class Talker(WireModel):
    """Who takes much."""

    subject: str
    taken: int
    refused: int


class RuleUsage(WireModel):
    """What became of one rule's requests, in every process since it started counting."""

    name: str
    taken: int
    refused: int
    shadowed: int
    top: list[Talker] = Field(description="who took most in the last minutes")


class UsageOut(WireModel):
    """The usage of every rule; of other processes as they told it some seconds ago."""

    items: list[RuleUsage]
    buckets: int
    processes: int = Field(1, description="whose usage this is: 1 while Valkey is away, or there is no other")
