"""How approval chains look over HTTP."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from valhalla.features.security.actions.contracts import ESCALATES, LASTS, MOST_EXPIRES, READ, Chain
from valhalla.features.security.actions.errors import ChainNotFound
from valhalla.features.security.actions.rules import NAME
from valhalla.kernel.scopes import ADMIN
from valhalla.kit.http import WireModel
from valhalla.kit.registry import Registry
from valhalla.kit.registry_routes import Face

CHAINS: Final = "/system/security/approval-chains"


class ChainModel(WireModel):
    """An approval chain as clients write it."""

    when: str = Field(
        min_length=1,
        max_length=2000,
        examples=['action.type == "key.revoke-owner"'],
        description="CEL over action (type, effect, scope, payload, requested), requester and mode",
    )
    approval: str = Field(
        min_length=1, max_length=300, examples=["2 of security then 1 of finance"], description="stages, in this order"
    )
    priority: int = Field(0, ge=-1000, le=1000, description="the highest is asked first")
    expires_in: float = Field(LASTS, ge=60, le=MOST_EXPIRES, description="seconds until an open request ends")
    escalate_after: float = Field(ESCALATES, ge=60, le=MOST_EXPIRES, description="seconds until it is an alert")
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


def chain_face(registry: Registry[Chain]) -> Face[Chain]:
    """Return ``/system/security/approval-chains``; who could weaken a chain could approve alone."""
    return Face(
        registry=registry,
        prefix=CHAINS,
        tag="security-actions",
        noun="approval chain",
        read=READ,
        write=ADMIN,
        model=ChainModel,
        example={"when": 'action.type == "key.revoke-owner"', "approval": "2 of security"},
        key="name",
        key_form=NAME,
        key_example="mass-revocation",
        filters=("enabled",),
        search=("description", "when", "approval"),
        missing=ChainNotFound,
    )
