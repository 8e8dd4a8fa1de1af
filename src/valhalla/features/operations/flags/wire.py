"""Flags on the wire: flagd's definition format with members of ours."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field

from valhalla.features.operations.flags.contracts import State
from valhalla.features.operations.flags.fractions import Generation
from valhalla.features.operations.flags.rules import ENVIRONMENT, KEY, MAX_VARIANTS
from valhalla.kit.http import WireModel

Name = Annotated[str, Field(min_length=1, max_length=128)]
Rule = dict[str, Any]
# a boolean first: true is not 1
Scalar = bool | int | float | Annotated[str, Field(max_length=1000)]


class OverlayModel(WireModel):
    """What one environment has instead."""

    state: State | None = None
    defaultVariant: Name | None = None  # noqa: N815 - flagd's name
    targeting: Rule | None = Field(None, description="{} for none")


class StepModel(OverlayModel):
    """What holds from an instant on."""

    at: AwareDatetime
    environment: str | None = Field(None, pattern=f"^{ENVIRONMENT}$", description="in all when absent")


class PrerequisiteModel(WireModel):
    """A flag that must come out as one of these variants."""

    flag: str = Field(pattern=f"^{KEY}$")
    variants: list[Name] = Field(min_length=1, max_length=MAX_VARIANTS)


class FlagModel(WireModel):
    """A flag as clients write it."""

    state: State = "ENABLED"
    variants: dict[str, Any] = Field(examples=[{"on": True, "off": False}], description="values of one type by name")
    defaultVariant: Name | None = Field(None, description="the caller's default when absent")  # noqa: N815
    targeting: Rule | None = Field(None, description="JsonLogic that gives the name of a variant")
    metadata: dict[Name, Scalar] = Field({}, max_length=50)
    buckets: Generation | None = Field(
        None, description="how splits are hashed: v3, or v2 as flagd-core 1 does. Stays what it is when absent"
    )
    environments: dict[str, OverlayModel] = Field({}, max_length=50)
    schedule: list[StepModel] = Field([], max_length=100)
    prerequisites: list[PrerequisiteModel] = Field([], max_length=20)
    owner: str | None = Field(None, max_length=100)
    expires: AwareDatetime | None = Field(None, description="reported as stale from then on")
    description: str | None = Field(None, max_length=1000)


class FlagMore(WireModel):
    """What is only shown."""

    killed: bool = Field(description="whether the kill switch is on")
    killVariant: str | None  # noqa: N815


class SharedRuleModel(WireModel):
    """A rule that flags name by ``{"$ref": key}``."""

    rule: Rule = Field(examples=[{"ends_with": [{"var": "email"}, "@example.com"]}])
    description: str | None = Field(None, max_length=1000)


class KillIn(WireModel):
    """What is served while the flag is killed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"variant": "off", "reason": "errors in checkout"}]})

    variant: Name | None = Field(None, description="the caller's default when absent")
    reason: str | None = Field(None, max_length=500)


class KilledOut(WireModel):
    """How the kill switch of a flag is now."""

    key: str
    killed: bool
    killVariant: str | None  # noqa: N815
    version: int


class PreviewIn(WireModel):
    """A definition to think through."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"key": "new-checkout", "definition": {"variants": {"on": True, "off": False}}, "samples": 500}
            ]
        }
    )

    key: str = Field(pattern=f"^{KEY}$", examples=["new-checkout"])
    definition: FlagModel
    environment: str | None = Field(None, pattern=f"^{ENVIRONMENT}$")
    context: dict[str, Any] = Field({}, examples=[{"targetingKey": "user-1"}], description="of every sample, too")
    samples: int = Field(1000, ge=1, le=2000, description="how many keys are tried")


class MovedOut(WireModel):
    """Sample keys that would get another variant; the empty name is the caller's default."""

    before: str
    after: str
    keys: int
    examples: list[str]


class ResolvedOut(WireModel):
    """What the context itself gets."""

    variant: str
    reason: str
    value: Any
    details: str


class PreviewOut(WireModel):
    """Who would be served what; nothing was stored or counted."""

    samples: int
    varied: list[str] = Field(description="the members of the context that held the sample key")
    before: dict[str, int] | None = Field(description="null: there is no such flag yet")
    after: dict[str, int]
    moved: list[MovedOut]
    context_before: ResolvedOut | None
    context_after: ResolvedOut


class StaleFlag(WireModel):
    """A flag that may have outlived its use."""

    key: str
    owner: str | None
    reasons: list[str]
    updated_at: datetime


class StaleOut(WireModel):
    """Flags to look at, by key."""

    items: list[StaleFlag]


class Exposed(WireModel):
    """How often each variant of a flag was served; the empty name is the caller's default."""

    key: str
    environment: str
    variants: dict[str, int]


class ExposuresOut(WireModel):
    """Exposures that this process has served or was told of since its start."""

    items: list[Exposed]


class ExposuresIn(WireModel):
    """What a client evaluated by itself since it told last."""

    environment: str | None = Field(None, pattern=f"^{ENVIRONMENT}$")
    counts: dict[Name, dict[Annotated[str, Field(max_length=128)], Annotated[int, Field(ge=0, le=2**53)]]] = Field(
        max_length=10_000, examples=[{"new-checkout": {"on": 12, "off": 30}}]
    )


class Counted(WireModel):
    """How many of the flags are known; the others were not counted."""

    counted: int
