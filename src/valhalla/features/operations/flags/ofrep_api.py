"""``/ofrep/v1``: evaluation over HTTP, for any OpenFeature client."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from valhalla.features.operations.flags import ofrep
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.rules import ENVIRONMENT
from valhalla.features.operations.flags.sets import FlagSets
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kit.changes.followers import Followers
from valhalla.kit.http import PROBLEMS, StrictRoute, requires, while_closed
from valhalla.kit.json import dumps

Reader = Annotated[Principal, requires("flags:read")]
# nothing here has a longest form: the protocol knows no answer to that
Key = Annotated[str, Path()]
Etag = Annotated[str | None, Header()]
Environment = Annotated[str | None, Header(description="whose overlays apply; the control plane's own")]
Known = Annotated[str | None, Query(description="from an event that told to ask again")]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_JSON: Final = "application/json"


def _described(description: str, *required: str) -> dict[str, Any]:
    members: dict[str, Any] = {name: {"type": "string"} for name in ("key", "errorCode", "errorDetails")}
    schema = {"type": "object", "required": list(required), "properties": members}
    # what is refused before a flag is looked at, such as an address with a NUL, is a problem as everywhere
    return {"description": description, "content": {_JSON: {"schema": schema}, **PROBLEMS["default"]["content"]}}


_ONE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["key", "reason", "variant"],
    "properties": {
        "key": {"type": "string"},
        "reason": {"enum": ["STATIC", "DEFAULT", "TARGETING_MATCH", "DISABLED"]},
        "variant": {"type": "string", "description": "empty where the caller's default holds"},
        "value": {"description": "absent where the caller's default holds"},
        "metadata": {"type": "object"},
    },
}
_ALL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["flags"],
    "properties": {
        "flags": {"type": "array", "items": {"type": "object", "required": ["key"]}},
        "eventStreams": {"type": "array", "items": {"type": "object"}},
    },
}


def _ok(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Evaluated", "content": {_JSON: {"schema": schema}}}


def router(sets: FlagSets, followers: Followers, clock: Clock, environment: str) -> APIRouter:
    """Return the routes; ``environment`` is the one of callers that name none."""
    routes = APIRouter(prefix="/ofrep/v1", tags=["ofrep"], responses=PROBLEMS, route_class=StrictRoute)

    def chosen(named: str | None) -> FlagSet:
        return sets.of(named if named is not None and re.fullmatch(ENVIRONMENT, named) else environment)

    refused = {400: _described("The context or the flag cannot be evaluated", "errorCode")}

    # with a slash at its end, as flagd takes it
    @routes.post("/evaluate/flags/", include_in_schema=False)
    @routes.post(
        "/evaluate/flags",
        responses={200: _ok(_ALL), 304: {"description": "Nothing has changed for this context"}, **refused},
    )
    @_open
    @while_closed("read")
    async def evaluate_all(
        request: Request,
        principal: Reader,
        if_none_match: Etag = None,
        x_environment: Environment = None,
        flagConfigEtag: Known = None,  # noqa: N803 - the protocol's name
        flagConfigLastModified: Known = None,  # noqa: N803
    ) -> Response:
        """Evaluate every flag for one context; `If-None-Match` saves who asks again."""
        body = await request.body()
        try:
            context = ofrep.context_of(body)
        except ofrep.Refused as refused:
            return _json(400, refused.document)
        flags = chosen(x_environment)
        if flags.timed:
            # a schedule changes answers without a change of a flag
            document = ofrep.bulk(flags, context)
            tag = ofrep.etag(flags, body, document)
            if not ofrep.matches(if_none_match, tag):
                return Response(document, headers={"ETag": tag}, media_type=_JSON)
        else:
            tag = ofrep.etag(flags, body)
            if not ofrep.matches(if_none_match, tag):
                return Response(ofrep.bulk(flags, context), headers={"ETag": tag}, media_type=_JSON)
        return Response(status_code=304, headers={"ETag": tag})

    # a key may hold a slash, and after those above, since it may also be empty
    @routes.post(
        "/evaluate/flags/{key:path}",
        responses={200: _ok(_ONE), **refused, 404: _described("No such flag", "key", "errorCode")},
    )
    @_open
    @while_closed("read")
    async def evaluate(key: Key, request: Request, principal: Reader, x_environment: Environment = None) -> Response:
        """Evaluate one flag; the body is `{"context": {"targetingKey": …, …}}`."""
        try:
            context = ofrep.context_of(await request.body())
        except ofrep.Refused as refused:
            return _json(400, {"key": key, **refused.document})
        return _json(*ofrep.answer(chosen(x_environment), key, context))

    @routes.get("/stream", include_in_schema=False)
    @_open
    async def stream(principal: Reader, last_event_id: Etag = None) -> Response:
        """Say when flags have changed, as server-sent events."""

        def tell() -> tuple[str, bytes]:
            event = {
                "type": "refetchEvaluation",
                "etag": followers.revision,
                "lastModified": int(clock.now().timestamp()),
            }
            return "message", dumps(event)

        events = followers.stream(last_event_id, tell)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes


def _open(endpoint: Endpoint) -> Endpoint:
    # clients of a later version of the protocol may send parameters of theirs
    endpoint.open_query = True  # type: ignore[attr-defined]
    return endpoint


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), status, media_type=_JSON)
