"""OTLP's ``/v1/traces``: programs send their spans."""

from __future__ import annotations

import asyncio
import zlib
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from valhalla.features.observability.tracing import protobuf
from valhalla.features.observability.tracing.errors import NotOtlp
from valhalla.features.observability.tracing.service import Form, TraceService
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import PayloadTooLarge
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires, while_closed
from valhalla.kit.json import dumps

# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Sender = Annotated[Principal, requires("telemetry")]
_FORMS: Final[dict[str, Form]] = {"application/json": "json", "application/x-protobuf": "protobuf"}
_LARGEST: Final = 4 * 2**20
# from here on a thread reads it, so that nobody else waits
_LARGE: Final = 32_768
_REFUSED: Final = "wrong ids or times, or no room"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": {"resourceSpans": []}},
            "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Partial(WireModel):
    """What was refused; numbers of 64 bits are text in OTLP's JSON."""

    rejectedSpans: str  # noqa: N815 - OTLP's name
    errorMessage: str  # noqa: N815 - OTLP's name


class TakenOut(WireModel):
    """OTLP's answer."""

    partialSuccess: Partial | None = None  # noqa: N815 - OTLP's name


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was compressed.

    Raises:
        NotOtlp: it was not compressed so, or in a way that is not known here.
        PayloadTooLarge: it becomes larger than 4 MiB.
    """
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise NotOtlp("the content encoding is neither gzip nor identity")
    reader = zlib.decompressobj(wbits=31)
    try:
        made = reader.decompress(body, _LARGEST + 1)
    except zlib.error:
        raise NotOtlp("the body is no gzip") from None
    if len(made) > _LARGEST:
        raise PayloadTooLarge(f"the limit is {_LARGEST} bytes once it is decompressed")
    if not reader.eof:
        raise NotOtlp("the body is only a part of a gzip")
    return made


def router(service: TraceService) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["traces"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/v1/traces", response_model=TakenOut, openapi_extra=_BODY)
    @while_closed("write")
    async def receive(principal: Sender, request: Request) -> Response:
        """Take spans as OTLP/HTTP, in protobuf or JSON; what is wrong or finds no room is counted in the answer."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        form = _FORMS.get(kind)
        if form is None:
            raise NotOtlp("the content type is neither application/x-protobuf nor application/json")
        body = unpacked(await request.body(), request.headers.get("content-encoding", "identity"))
        if len(body) < _LARGE:
            rejected = service.take(principal, body, form)
        else:
            rejected = await asyncio.to_thread(service.take, principal, body, form)
        if form == "protobuf":
            return Response(protobuf.told(rejected, _REFUSED), media_type=kind)
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": _REFUSED}}
        return Response(dumps(partial if rejected else {}), media_type=kind)

    return routes
