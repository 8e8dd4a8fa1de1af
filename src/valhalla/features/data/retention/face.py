"""Policies and legal holds as registries over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from valhalla.features.data.exports import ConditionIn
from valhalla.features.data.retention.contracts import Hold, Policy
from valhalla.features.data.retention.errors import HoldNotFound, PolicyNotFound
from valhalla.features.data.retention.wire import HoldModel, PolicyModel
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/retention"
_NAME: Final = r"[a-z0-9][a-z0-9-]{0,63}"


def policies(registry: Registry[Policy]) -> Face[Policy]:
    """Return how policies look; a policy's key is its category."""

    def make(key: str, model: PolicyModel, _before: Policy | None, _principal: Principal) -> Policy:
        return Policy(category=key, **model.model_dump())

    return Face(
        registry=registry,
        prefix=f"{PREFIX}/policies",
        tag="retention",
        noun="retention policy",
        read="retention:read",
        write="retention:write",
        model=PolicyModel,
        example={"days": 90},
        key="category",
        key_form=_NAME,
        key_example="logs",
        make=make,
        show=_plain,
        filters=("enabled", "export_first"),
        search=("description",),
        missing=PolicyNotFound,
    )


def holds(registry: Registry[Hold]) -> Face[Hold]:
    """Return how legal holds look."""

    def make(_key: str, model: HoldModel, _before: Hold | None, _principal: Principal) -> Hold:
        conditions = tuple(ConditionIn.condition(one) for one in model.conditions)
        return Hold(model.category, model.reason, conditions, model.since, model.until)

    return Face(
        registry=registry,
        prefix=f"{PREFIX}/holds",
        tag="retention",
        noun="legal hold",
        read="retention:read",
        write="retention:write",
        model=HoldModel,
        example={"category": "logs", "reason": "case 2026-17"},
        key="name",
        key_form=_NAME,
        key_example="case-2026-17",
        make=make,
        show=_plain,
        filters=("category",),
        search=("reason",),
        missing=HoldNotFound,
    )


def _plain(value: msgspec.Struct) -> Mapping[str, Any]:
    # also members that have their defaults, which are not stored
    return {name: msgspec.to_builtins(getattr(value, name)) for name in value.__struct_fields__}
