"""API clients on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, field_validator

from valhalla.kernel.scopes import Role
from valhalla.kit.http import WireModel
from valhalla.kit.registry_routes.wire import WriteQuery

_Scope = Annotated[str, Field(max_length=80)]
_Network = Annotated[str, Field(max_length=50)]
_Rate = Annotated[str, Field(max_length=64)]


class ClientModel(WireModel):
    """What can be said of a client."""

    owner: str = Field(max_length=63, examples=["team-a"])
    scopes: list[_Scope] = Field(
        default=[], max_length=20, examples=[["sandbox:write"]], description="what the key allows, beside its role"
    )
    role: Role | None = Field(None, description="a name for the scopes of a trade")
    name: str | None = Field(None, min_length=1, max_length=100, examples=["team-a CI"])
    expires_at: AwareDatetime | None = Field(None, description="never when absent", examples=["2027-01-01T00:00:00Z"])
    networks: list[_Network] = Field(
        default=[], max_length=50, examples=[["10.0.0.0/8"]], description="where it may be used from; all when empty"
    )
    limits: list[_Rate] = Field(
        default=[], max_length=5, examples=[["100/minute"]], description="the key's own, beside everybody's"
    )

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("a name is printable text on one line")
        return value


class ClientIn(ClientModel):
    """A client to make: with scopes, a role or both."""


class ClientMore(WireModel):
    """What the server says of a client."""

    prefix: str = Field(description="how its key begins")
    environment: str
    active: bool
    created_by: str
    rotated_at: datetime | None
    overlap_until: datetime | None = Field(description="until when the key before the last rotation is taken")
    last_used_at: datetime | None = Field(description="a few seconds late")


class ClientOut(ClientModel, ClientMore):
    """A client without its key."""

    id: str
    version: int
    created_at: datetime
    updated_at: datetime


class IssuedOut(ClientOut):
    """A client with its fresh key, which is shown this once."""

    key: str | None = Field(description="absent in a dry run")


class RotateIn(WireModel):
    """How to rotate."""

    grace_seconds: int = Field(
        ge=0, le=30 * 86_400, examples=[3600], description="how long the old key is taken beside the new one; 0: not"
    )


class RevokeQuery(WriteQuery):
    """How to revoke."""

    confirm: bool = Field(False, description="also if nobody could administer keys afterwards")


class SwitchQuery(WireModel):
    """How to activate or deactivate."""

    confirm: bool = Field(False, description="also if nobody could administer keys afterwards")
    reason: str | None = Field(None, max_length=500, description="why; kept in history and ledger")
