"""The blocklist on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from valhalla.features.security.blocklist.contracts import Action, RuleType
from valhalla.kernel.alerting import Severity
from valhalla.kit.http import WireModel
from valhalla.kit.registry_routes.wire import ChangeOut, WriteQuery


class BlockModel(WireModel):
    """A rule as clients write it."""

    type: RuleType = Field(examples=["ip"])
    value: str = Field(min_length=1, max_length=2000, examples=["203.0.113.7"], description="in any form of its type")
    action: Action = Field("block", description="what is allowed is blocked by no rule")
    reason: str | None = Field(None, max_length=500, examples=["password guessing"])
    severity: Severity = "warning"
    source: str = Field("operator", pattern=r"^[A-Za-z0-9_.:@/+-]{1,64}$", description="who says so")
    expires_at: AwareDatetime | None = Field(
        None, examples=["2027-01-01T00:00:00Z"], description="never when absent; at the whole second after"
    )
    remediation: str = Field(
        "ban", pattern=r"^[A-Za-z0-9_.:@/+-]{1,64}$", description="what bouncers do; our own gate refuses"
    )


class BlockMore(WireModel):
    """What the server says of a rule."""

    active: bool = Field(description="whether it holds now")
    hits: int = Field(description="requests that it refused, a few seconds late")
    last_hit_at: datetime | None


class BlockOut(BlockModel, BlockMore):
    """A rule."""

    key: str
    version: int
    created_at: datetime
    updated_at: datetime


class BlockQuery(WriteQuery):
    """How to block."""

    confirm: bool = Field(False, description="also if it would block nearly everybody")


class UnblockIn(WireModel):
    """What to unblock."""

    type: RuleType = Field(examples=["ip"])
    value: str = Field(min_length=1, max_length=2000, examples=["203.0.113.7"])
    action: Action = Field("block", description="'allow': the rule that allows it")


class ImpactOut(WireModel):
    """What rules would have done to the last requests of this process."""

    blocked: int
    of: int
    with_key: int = Field(description="of those blocked, requests with a valid key")
    paths: list[str] = Field(description="some of what would not have been answered")
    owners: list[str] = Field(description="some of those whose keys they were")
    summary: str = Field(examples=["would have blocked 14 of the last 10000 requests, 2 with a valid key"])


class DryOut(WireModel):
    """What a write would change."""

    dry_run: bool
    revision: int | None
    items: list[ChangeOut]
    impact: ImpactOut


class TestRule(WireModel):
    """A rule to think through."""

    type: RuleType
    value: str = Field(min_length=1, max_length=2000)


class TestIn(WireModel):
    """Rules to try on the last requests."""

    rules: list[TestRule] = Field(min_length=1, max_length=1000, examples=[[{"type": "cidr", "value": "10.0.0.0/8"}]])


class CheckIn(WireModel):
    """A request to ask about."""

    address: str | None = Field(None, max_length=60, examples=["203.0.113.7"])
    principal: str | None = Field(None, max_length=128, description="the owner of its key")
    api_key: str | None = Field(None, max_length=128, description="the id of its API client")
    user_agent: str | None = Field(None, max_length=500)
    country: str | None = Field(None, pattern="^[A-Za-z]{2}$")
    asn: int | None = Field(None, ge=1, lt=2**32)
    method: str = Field("GET", max_length=20)
    path: str = Field("/", max_length=2000)


class CheckOut(WireModel):
    """What would become of it."""

    blocked: bool
    by: str | None = Field(description="the key of the rule that blocks it, also if another allows it")
    allowed_by: str | None = Field(description="the key of the rule that allows it all the same")


class ImportQuery(WireModel):
    """How to import. Every rule of the text gets what is said here, unless the text says otherwise."""

    format: Literal["auto", "plain", "csv", "crowdsec"] = "auto"
    action: Action = "block"
    source: str = Field("import", pattern=r"^[A-Za-z0-9_.:@/+-]{1,64}$", description="the name of the list")
    reason: str | None = Field(None, max_length=500)
    severity: Severity = "warning"
    expires_at: AwareDatetime | None = None
    replace: bool = Field(False, description="remove the rules of this source that the text does not have")
    confirm: bool = Field(False, description="also what is very broad or private")
    dry_run: bool = False


class RejectedOut(WireModel):
    """A line that is no rule."""

    line: int
    text: str
    why: str


class ImportOut(WireModel):
    """What an import did; with ``dry_run`` what it would."""

    dry_run: bool
    format: str
    rules: int = Field(description="different ones in the text")
    added: int
    changed: int
    unchanged: int
    removed: int
    rejected: int
    rejections: Annotated[list[RejectedOut], Field(max_length=20)]
    revision: int | None = Field(description="the registry's, when anything changed")
    impact: ImpactOut | None = None


class HitOut(WireModel):
    """A rule that refuses much."""

    key: str
    hits: int
    last_hit_at: datetime


class StatsOut(WireModel):
    """The blocklist in numbers."""

    rules: dict[str, int] = Field(description="by type; those that allow under 'allow'")
    top: list[HitOut]
    refused: int = Field(description="requests that this process refused since it started")
    revision: int
    behind: int = Field(description="changes that this process has heard of and not read")
