"""How the registries of rules and subscriptions look over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from valhalla.features.observability.alerts.contracts import AlertRule, AlertSubscription, Told
from valhalla.features.observability.alerts.policy import Policy
from valhalla.kernel.alerting import Severity
from valhalla.kernel.principal import Principal
from valhalla.kit.http import WireModel
from valhalla.kit.registry_routes import Face

PatternText = Annotated[str, Field(min_length=1, max_length=200)]


class RuleModel(WireModel):
    """What is changed about alerts whose name fits ``match``."""

    match: PatternText = Field(examples=["job.*"], description="`*` stands for any characters")
    severity: Severity | None = Field(None, description="instead of the one it was raised with")
    muted: bool = Field(False, description="neither stored nor told")
    threshold: int = Field(1, ge=1, le=1_000_000, description="opened at so many occurrences ...")
    window: float = Field(60.0, ge=1, le=86_400, description="... within so many seconds")
    escalate_after: float | None = Field(
        None, ge=0, le=2_592_000, description="seconds unacknowledged; 0: never, null: as its severity does"
    )


class SubscriptionModel(WireModel):
    """Who wants to hear."""

    pattern: PatternText = Field("*", description="which names; `*` stands for any characters", examples=["job.*"])
    minimum: Severity = "warning"
    events: list[Told] = Field(["opened", "escalated", "resolved"], min_length=1, max_length=3)
    target: str | None = Field(None, min_length=1, max_length=200, description="a notification channel")


def rule_face(policy: Policy) -> Face[AlertRule]:
    """Return ``/system/alerts/rules``."""
    return Face(
        registry=policy.rules,
        prefix="/system/alerts/rules",
        tag="alerts",
        noun="alert rule",
        read="alerts:read",
        write="alerts:write",
        model=RuleModel,
        example={"key": "quiet-jobs", "match": "job.*", "severity": "warning", "threshold": 3},
        key_example="quiet-jobs",
        filters=("muted",),
        search=("match",),
    )


def subscription_face(policy: Policy) -> Face[AlertSubscription]:
    """Return ``/system/alerts/subscriptions``."""
    return Face(
        registry=policy.subscriptions,
        prefix="/system/alerts/subscriptions",
        tag="alerts",
        noun="alert subscription",
        read="alerts:read",
        write="alerts:write",
        model=SubscriptionModel,
        example={"key": "on-call", "pattern": "*", "minimum": "error", "target": "pager"},
        key_example="on-call",
        make=_subscription,
        search=("pattern", "target"),
    )


def _subscription(key: str, model: Any, before: AlertSubscription | None, principal: Principal) -> AlertSubscription:
    del key, before, principal
    return AlertSubscription(model.pattern, model.minimum, tuple(dict.fromkeys(model.events)), model.target)
