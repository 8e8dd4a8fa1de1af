"""How the rules look over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from valhalla.features.security.blocklist import rules
from valhalla.features.security.blocklist.contracts import BlockRule
from valhalla.features.security.blocklist.errors import BadRule, RuleNotFound
from valhalla.features.security.blocklist.rules import made
from valhalla.features.security.blocklist.service import BlockService
from valhalla.features.security.blocklist.store import Hit
from valhalla.features.security.blocklist.wire import BlockModel, BlockMore
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Record
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/security/blocklist"


def rule_face(service: BlockService, hits: Callable[[str], Hit], now: Callable[[], datetime]) -> Face[BlockRule]:
    """Return the face over the service's registry."""

    def make(key: str, model: Any, _before: BlockRule | None, _principal: Principal) -> BlockRule:
        found, rule = made(**dict(model))
        if found != key:
            raise BadRule("the key says another rule than type, value and action", key=found)
        return rule

    def state(record: Record[BlockRule]) -> Mapping[str, Any]:
        hit, expiry = hits(record.key), record.value.expires_at
        return {
            "active": expiry is None or expiry > now(),
            "hits": hit.hits,
            "last_hit_at": hit.last_at if hit.hits else None,
        }

    return Face(
        registry=service.registry,
        prefix=PREFIX,
        tag="blocklist",
        noun="blocklist rule",
        read="blocklist:read",
        write="blocklist:write",
        model=BlockModel,
        example={"type": "ip", "value": "203.0.113.7", "reason": "password guessing"},
        key_form=rules.KEY,
        key_example="ip:203.0.113.7",
        make=make,
        more=BlockMore,
        state=state,
        filters=("type", "action", "severity", "source", "remediation"),
        search=("value", "reason", "source"),
        check=service.check,
        missing=RuleNotFound,
        reserved=frozenset({"stats", "test", "check", "import", "unblock"}),
    )
