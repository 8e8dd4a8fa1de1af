"""How flags and shared rules look over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from valhalla.features.operations.flags.contracts import Flag, SharedRule
from valhalla.features.operations.flags.errors import FlagNotFound, SharedRuleNotFound
from valhalla.features.operations.flags.rules import KEY
from valhalla.features.operations.flags.service import FlagService
from valhalla.features.operations.flags.wire import FlagModel, FlagMore, SharedRuleModel
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.registry import Record
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/flags"
RULES_PREFIX: Final = "/system/flag-rules"
_EXAMPLE: Final = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"fractional": [["on", 10], ["off", 90]]},
}


def flag_face(service: FlagService) -> Face[Flag]:
    """Return the face of the flags."""

    def state(record: Record[Flag]) -> Mapping[str, Any]:
        return {"killed": record.value.killed, "killVariant": record.value.killVariant}

    return Face(
        registry=service.flags,
        prefix=PREFIX,
        tag="flags",
        noun="flag",
        read="flags:read",
        write="flags:write",
        model=FlagModel,
        example=_EXAMPLE,
        key_form=KEY,
        key_example="new-checkout",
        make=made,
        more=FlagMore,
        state=state,
        filters=("state", "owner"),
        search=("description", "owner"),
        check=lambda conn, _principal, changes: service.check_flags(conn, changes),
        missing=FlagNotFound,
        reserved=frozenset({"exposures", "stale", "snapshot", "preview"}),
    )


def rule_face(service: FlagService) -> Face[SharedRule]:
    """Return the face of the shared rules."""
    return Face(
        registry=service.shared,
        prefix=RULES_PREFIX,
        tag="flags",
        noun="shared rule",
        read="flags:read",
        write="flags:write",
        model=SharedRuleModel,
        example={"rule": {"ends_with": [{"var": "email"}, "@example.com"]}},
        key_form=KEY,
        key_example="staff",
        search=("description",),
        check=lambda conn, _principal, changes: service.check_shared(conn, changes),
        missing=SharedRuleNotFound,
    )


def made(key: str, model: Any, before: Flag | None, _principal: Principal) -> Flag:
    """Return the flag that a definition stands for.

    Raises:
        Invalid: it does not fit.
    """
    members: dict[str, Any] = model.model_dump()
    # what a definition does not say must not change who is served what: the bucketing and the kill switch stay
    members["buckets"] = members["buckets"] or ("v3" if before is None else before.buckets)
    killed = {} if before is None else {"killed": before.killed, "killVariant": before.killVariant}
    try:
        return msgspec.convert({**members, "key": key, **killed}, Flag)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), key=key) from error
