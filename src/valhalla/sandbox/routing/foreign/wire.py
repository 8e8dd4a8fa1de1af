"""Event sources that are not ours, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from valhalla.kit.http import WireModel
from valhalla.sandbox.routing.foreign.contracts import Way


class SourceModel(WireModel):
    """A source as clients write it."""

    subject: str = Field(max_length=200, examples=["orders.{key}.{type}"], description="what its programs publish on")
    kind: str = Field(max_length=63, examples=["tenant"], description="the kind of routes that claim its keys")
    account: str = Field(
        "apps", max_length=56, description="a word for an account to be made, or the public key of one that exists"
    )
    way: Way = Field("mapping", description="mapping: up to 100 keys, by the server; router: any number, by a process")
    stream: str | None = Field(None, max_length=64, description="of a router: the account's stream that has the events")
    enabled: bool = True
    description: str | None = Field(None, max_length=500)


class CredentialsIn(WireModel):
    """What for."""

    role: Literal["publisher", "account"] = Field(
        "publisher",
        examples=["publisher"],
        description="publisher: its subjects alone; account: everything in the source's account",
    )
    days: int = Field(365, ge=1, le=3650, description="how long they are good for")


class CredentialsOut(WireModel):
    """Credentials of a source's account; secret."""

    url: str
    account: str = Field(description="its public key")
    creds: str = Field(description="the text of a .creds file")


class MappedKey(WireModel):
    """A claimed key whose events the server maps."""

    subject: str
    to: str


class SourceState(WireModel):
    """What is in force of a source, as this process last saw it."""

    name: str
    account: str = Field(description="its public key")
    way: Way
    mapped: list[MappedKey]
    fault: str | None = Field(description="why the account cannot be written")
