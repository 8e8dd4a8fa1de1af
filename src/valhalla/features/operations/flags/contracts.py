"""The values of flags. Members that flagd's definition format has are spelt as it spells them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from valhalla.features.operations.flags.fractions import Generation

State = Literal["ENABLED", "DISABLED"]
Reason = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "DISABLED", "ERROR"]
Failure = Literal["FLAG_NOT_FOUND", "PARSE_ERROR", "TARGETING_KEY_MISSING", "GENERAL"]
Targeting: TypeAlias = dict[str, Any]
Scalar: TypeAlias = bool | str | int | float


class Overlay(msgspec.Struct, frozen=True):
    """What one environment has instead; ``targeting`` of ``{}`` is none."""

    state: State | None = None
    defaultVariant: str | None = None  # noqa: N815 - flagd's name
    targeting: Targeting | None = None


class Step(msgspec.Struct, frozen=True):
    """What holds from an instant on, in one environment or in all."""

    at: datetime
    environment: str | None = None
    state: State | None = None
    defaultVariant: str | None = None  # noqa: N815
    targeting: Targeting | None = None


class Prerequisite(msgspec.Struct, frozen=True):
    """A flag that must be evaluated to one of some variants, or this one is as if disabled."""

    flag: str
    variants: tuple[str, ...]


class Flag(msgspec.Struct, frozen=True):
    """One flag. ``buckets`` pins how its ``fractional`` splits are hashed: it never changes by an upgrade.

    A ``killed`` flag gives its ``killVariant`` whatever else it says; without one the caller's default.
    """

    key: str
    variants: dict[str, Any]
    state: State = "ENABLED"
    defaultVariant: str | None = None  # noqa: N815
    targeting: Targeting | None = None
    metadata: dict[str, Scalar] = {}
    buckets: Generation = "v3"
    environments: dict[str, Overlay] = {}
    schedule: tuple[Step, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    killed: bool = False
    killVariant: str | None = None  # noqa: N815
    owner: str | None = None
    expires: datetime | None = None
    description: str | None = None


class SharedRule(msgspec.Struct, frozen=True):
    """A rule that flags name by ``{"$ref": key}`` (flagd's ``$evaluators``)."""

    key: str
    rule: Targeting
    description: str | None = None


class Resolution(msgspec.Struct, frozen=True):
    """What a flag was evaluated to. Unless ``found`` it is the caller's default; value and variant are empty then."""

    reason: Reason
    value: Any = None
    variant: str = ""
    found: bool = False
    metadata: dict[str, Scalar] = {}
    failure: Failure | None = None
    details: str = ""
