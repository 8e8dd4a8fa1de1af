"""How policies look over HTTP."""

from __future__ import annotations

from typing import Final

from valhalla.features.security.policies.contracts import Policy
from valhalla.features.security.policies.errors import PolicyNotFound
from valhalla.features.security.policies.rules import NAME
from valhalla.features.security.policies.wire import PolicyModel
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face

PREFIX: Final = "/system/security/policies"
READ: Final = "policies:read"
WRITE: Final = "policies:write"


def policy_face(registry: Registry[Policy]) -> Face[Policy]:
    """Return ``/system/security/policies``."""
    return Face(
        registry=registry,
        prefix=PREFIX,
        tag="policies",
        noun="policy",
        read=READ,
        write=WRITE,
        model=PolicyModel,
        example={"when": "counters.failed_auth >= 10", "action": "block", "duration": 900, "shadow": True},
        key="name",
        key_form=NAME,
        key_example="wrong-keys",
        filters=("action", "on", "enabled", "shadow"),
        search=("description", "when"),
        missing=PolicyNotFound,
        reserved=frozenset({"test", "usage"}),
    )
