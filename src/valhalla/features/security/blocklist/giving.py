"""``/system/snapshot/blocklist``: the rules for gates of other applications, page by page and then change by change."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from valhalla.features.security.blocklist import store
from valhalla.features.security.blocklist.keeping import Keeper
from valhalla.features.security.blocklist.whence import Whence
from valhalla.kernel.principal import Principal
from valhalla.kit.db import Database
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires
from valhalla.kit.json import dumps

_PAGE: Final = 2_000
_LONGEST: Final = 30.0
# at the level of the module: FastAPI cannot resolve an annotation that names a function's local
Machine = Annotated[Principal, requires("snapshot:read")]
After = Annotated[str | None, Query(max_length=300, description="the last key of the page before; begin with none")]
Since = Annotated[int | None, Query(ge=0, le=2**62, description="the revision that is known: what came after it")]
Wait = Annotated[float, Query(ge=0, le=_LONGEST, description="seconds to wait for something to come after it")]


class LineOut(WireModel):
    """One rule; ``until`` in seconds since the epoch, ``null`` for one that is gone."""

    action: str
    type: str
    value: str
    until: int | None


class BlockPageOut(WireModel):
    """A page of rules (`next`: its last key), or of changes; `known` is false where history does not reach back.

    The headers are those in which this control plane's trusted proxies say where a request comes from.
    """

    revision: int
    known: bool
    rules: list[LineOut]
    next: str | None
    country_header: str | None
    asn_header: str | None


def giver(db: Database, keeper: Keeper, whence: Whence) -> APIRouter:
    """Return the route; ``whence`` is what rules by country and ASN go by."""
    routes = APIRouter(tags=["connected"], responses=PROBLEMS, route_class=StrictRoute)

    def answer(revision: int, lines: list[store.Line], following: Any, *, known: bool = True) -> Response:
        rules = [{"action": one.action, "type": one.type, "value": one.value, "until": one.until} for one in lines]
        named = {f"{what}_header": name for what, name in whence.names.items()}
        document = {"revision": revision, "known": known, "rules": rules, "next": following, **named}
        return Response(dumps(document), headers={"Cache-Control": "no-store"}, media_type="application/json")

    @routes.get("/system/snapshot/blocklist", response_model=BlockPageOut)
    async def blocklist(principal: Machine, after: After = None, since: Since = None, wait: Wait = 0.0) -> Response:
        """Give the blocklist to another gate: pages by key, then with `since` what changed, as soon as it does."""
        if since is None:
            # what is written meanwhile comes with the changes since the first page's revision
            revision = keeper.revision
            lines = await db.read(store.page, after or "", _PAGE)
            following = lines[-1].mark if len(lines) == _PAGE else None
            return answer(revision, lines, following)
        if since == keeper.revision and wait:
            news = keeper.news
            try:
                await asyncio.wait_for(news.wait(), wait)
            except TimeoutError:
                return answer(since, [], None)
        lines = await db.read(store.since, since, _PAGE)
        if since > keeper.revision or (lines and lines[0].mark != since + 1):
            return answer(keeper.revision, [], None, known=False)
        return answer(lines[-1].mark if lines else since, lines, None)

    return routes
