"""``/v1/kv``: existing Consul clients read configuration here; nothing is written this way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from valhalla.features.operations.config import consul, rules
from valhalla.features.operations.config.contracts import Entry
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid
from valhalla.kit.changes import Snapshot
from valhalla.kit.changes.followers import Followers
from valhalla.kit.http import PROBLEMS, StrictRoute, requires

Reader = Annotated[Principal, requires("config:read")]
Key = Annotated[str, Path(max_length=512)]
Index = Annotated[str | None, Query(max_length=20, description="the X-Consul-Index that is known: wait for another")]
Wait = Annotated[str | None, Query(max_length=20, description="how long to wait: 30s, 5m", examples=["0s"])]


def router(snapshot: Callable[[], Snapshot[Entry]], followers: Followers, environment: str) -> APIRouter:
    """Return the route; ``environment`` is whose values are read where ``dc`` names none."""
    routes = APIRouter(prefix="/v1", tags=["consul"], responses=PROBLEMS, route_class=StrictRoute)

    def read(asked: consul.Asked, chosen: str) -> consul.Answer:
        now = snapshot()
        return consul.answer(now.records, now.revision, asked, chosen)

    async def kv(request: Request, key: Key, principal: Reader, index: Index = None, wait: Wait = None) -> Response:
        """Read keys as Consul's clients do: `?recurse`, `?keys`, `?raw`, and `?index=&wait=` to wait for a change."""
        query = request.query_params
        asked = consul.Asked(key, "recurse" in query, "keys" in query, "raw" in query, query.get("separator"))
        dc = query.get("dc", "")
        chosen = dc if re.fullmatch(rules.ENVIRONMENT, dc) else environment
        seconds = consul.seconds(wait)
        if seconds is None or (index is not None and not index.isdecimal()):
            raise Invalid("'index' is a number and 'wait' a time such as 30s or 5m")
        found = read(asked, chosen)
        if index is not None:
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            # what wakes us may have been another key
            while found.index == int(index) and (left := until - loop.time()) > 0:
                if not await followers.wait(followers.revision, left):
                    break
                found = read(asked, chosen)
        return _answer(found)

    # Consul's clients send parameters of their own: dc, consistent, stale
    kv.open_query = True  # type: ignore[attr-defined]
    gone: dict[int | str, dict[str, Any]] = {404: {"description": "No such key", "content": {}}}
    pairs: dict[int | str, dict[str, Any]] = {200: {"description": "The pairs, their names, or a raw value"}}
    routes.add_api_route("/kv/{key:path}", kv, methods=["GET"], response_model=None, responses={**gone, **pairs})
    return routes


def _answer(found: consul.Answer) -> Response:
    headers = {"X-Consul-Index": str(found.index), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
    if found.body is None:
        return Response(status_code=found.status, headers=headers)
    if isinstance(found.body, bytes):
        return Response(found.body, found.status, headers, media_type="application/octet-stream")
    return Response(msgspec.json.encode(found.body), found.status, headers, media_type="application/json")
