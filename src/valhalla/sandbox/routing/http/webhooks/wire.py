"""Receivers of webhooks on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from valhalla.kit.http import WireModel
from valhalla.sandbox.routing.contracts import MAX_DATA
from valhalla.sandbox.routing.http.webhooks.contracts import Encoding, Scheme

Origin = Annotated[str, Field(min_length=1, max_length=300)]
Secret = Annotated[str, Field(min_length=1, max_length=200)]


class ReceiverModel(WireModel):
    """A receiver as clients write it; its secrets go in and never out."""

    kind: str = Field(max_length=63, examples=["tenant"], description="which kind of route its events are claimed by")
    key_from: Origin = Field(
        examples=["body:$.account.id"],
        description="where a webhook says whose it is: header:NAME, body:$.a.b, path, fixed:KEY",
    )
    type_from: Origin = Field("fixed:webhook", description="where its type is: header:NAME, body:$.a.b, fixed:TEXT")
    id_from: Origin = Field(
        "auto",
        description="what names a delivery: header:NAME, body:$.a.b, or auto: webhook-id, x-github-delivery,"
        " idempotency-key, else a hash of the body",
    )
    default_key: str | None = Field(None, max_length=128, description="for what has no key; else that is refused")
    scheme: Scheme = Field("none", description="how it is signed; none: anybody may send")
    secrets: list[Secret] | None = Field(
        None, max_length=3, description="written only; each of them verifies; *** keeps the one in its place"
    )
    header: str | None = Field(None, max_length=100, description="where the signature of hmac is")
    prefix: str = Field("", max_length=40, description="what stands before it there: sha256=")
    encoding: Encoding = Field("hex", description="how it is written there")
    tolerance: int = Field(300, ge=1, le=3600, description="seconds that a signed time may be off")
    max_bytes: int = Field(MAX_DATA, ge=1, le=MAX_DATA, description="the largest body")
    enabled: bool = Field(True, description="false: what comes is refused")
    description: str | None = Field(None, max_length=500)


class ReceivedOut(WireModel):
    """A webhook that is stored. ``duplicate``: it was already."""

    id: str
    duplicate: bool
