"""Policies and the mode on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from valhalla.features.security.policies.contracts import MODES, Action, Mode, On, Subject
from valhalla.features.security.policies.reading import LONGEST as LONGEST_CONDITION
from valhalla.features.security.policies.rules import NAME
from valhalla.kit.http import WireModel

_Path = Annotated[str, Field(max_length=300)]
_Method = Annotated[str, Field(max_length=10)]
_Name = Annotated[str, Field(max_length=100)]
_Text = Annotated[str, Field(max_length=1000)]


class PolicyModel(WireModel):
    """A policy as clients write it."""

    when: str = Field(
        min_length=1,
        max_length=LONGEST_CONDITION,
        examples=['request.method == "DELETE" && principal.anonymous'],
        description="CEL over request, principal, sandbox, counters and mode; of honeypots over event and source",
    )
    action: Action = Field(examples=["challenge"])
    on: On = "request"
    priority: int = Field(0, ge=-1000, le=1000, description="the highest is asked first")
    paths: list[_Path] = Field(default=[], max_length=100, examples=[["/api/*"]], description="all when empty")
    methods: list[_Method] = Field(default=[], max_length=10, description="all when empty")
    modes: list[Mode] = Field(default=list(MODES), max_length=3, description="the modes in which it is asked")
    duration: float = Field(900.0, ge=1, le=90 * 86_400, description="seconds of a block, a raised mode or a grant")
    subject: Subject = Field("address", description="whom a block hits; of who has no key the address")
    mode: Mode = Field("elevated", description="of 'elevate': what the mode is raised to")
    shadow: bool = Field(False, description="do nothing, count what would have been done")
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


class PolicyUsage(WireModel):
    """What became of one policy in this process."""

    name: str
    action: Action | None = Field(description="what it does, or would do; null: it was removed since")
    shadow: bool
    matched: int
    shadowed: int = Field(description="matches that did nothing because it is a shadow")
    failed: int = Field(description="its condition met something it does not know: no match")
    last_at: datetime | None


class UsageOut(WireModel):
    """The usage of every policy that matched or failed, and of all shadows, as this process sees it."""

    mode: Mode
    policies: int
    broken: dict[str, str] = Field(description="policies of which this release cannot make sense")
    addresses: int = Field(description="addresses of which something is counted")
    counted_elsewhere: int = Field(description="what other processes counted of addresses")
    waiting_dropped: int
    items: list[PolicyUsage]


class CallerIn(WireModel):
    """Somebody with a key."""

    id: str = Field("", max_length=64)
    owner: str = Field("", max_length=63)
    scopes: list[_Name] = Field(default=[], max_length=100)


class CaughtIn(WireModel):
    """What a honeypot caught."""

    address: str = Field("192.0.2.1", max_length=60)
    kind: str = Field("scan", max_length=40)
    honeypot: str = Field("", max_length=63)
    service: str = Field("", max_length=63)
    score: int = Field(1, ge=0, le=1000)
    total: int = Field(1, ge=0, le=1_000_000, description="of every event of this address within the hour")
    events: int = Field(1, ge=0, le=1_000_000)


class DraftModel(PolicyModel):
    """A policy that is not stored."""

    name: str = Field("draft", pattern=f"^{NAME}$", max_length=63)


class TestIn(WireModel):
    """A request to think through, or with ``caught`` what a honeypot would report. Nothing is done."""

    method: str = Field("GET", max_length=10)
    path: str = Field("/", max_length=2000, examples=["/api/sandboxes"])
    route: str | None = Field(None, max_length=500, description="the template of its route; the path when absent")
    query: str = Field("", max_length=2000)
    headers: dict[_Name, _Text] = Field(default={}, max_length=100)
    address: str | None = Field(None, max_length=60, examples=["203.0.113.7"])
    principal: CallerIn | None = Field(None, description="anonymous when absent")
    counters: dict[_Name, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        default={}, max_length=20, examples=[{"failed_auth": 12}], description="what is counted of the address"
    )
    mode: Mode | None = Field(None, description="the present one when absent")
    caught: CaughtIn | None = None
    policy: DraftModel | None = Field(None, description="a draft to try, in the place of the one with its name")
    model_config = {"json_schema_extra": {"examples": [{"path": "/api/sandboxes", "counters": {"failed_auth": 12}}]}}


class VerdictOut(WireModel):
    """What one policy says by itself."""

    name: str
    action: Action
    matched: bool
    error: str | None = Field(description="why its condition says nothing")
    shadow: bool


class TestOut(WireModel):
    """What would become of it."""

    outcome: Action | None = Field(description="null: it passes, nobody objects")
    policy: str | None = Field(description="the policy that ends the matter")
    done: list[str] = Field(description="the policies that would do something, in their order")
    verdicts: list[VerdictOut] = Field(description="of each policy that its path, method and the mode concern")


class ModeIn(WireModel):
    """The mode to set."""

    mode: Mode = Field(examples=["elevated"])
    reason: str = Field(min_length=1, max_length=500, examples=["many wrong keys"])
    lasting_seconds: int | None = Field(
        None, ge=60, le=7 * 86_400, examples=[3600], description="until it falls back; an hour when absent"
    )


class ModeOut(WireModel):
    """Which mode holds, and since and until when."""

    mode: Mode
    reason: str
    actor: str | None
    since: datetime | None
    until: datetime | None = Field(description="when it falls back to normal by itself")
    version: int


class ModeChange(WireModel):
    """One setting of the mode."""

    revision: int
    mode: str | None
    reason: str | None
    actor: str
    at: datetime
    until: datetime | None


class ModePage(WireModel):
    """One page of settings of the mode, newest first."""

    items: list[ModeChange]
    next: str | None
