"""The reads of a registry's router."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field

from valhalla.kernel.principal import Principal
from valhalla.kit import paging
from valhalla.kit.db import Database
from valhalla.kit.http import requires
from valhalla.kit.json import dumps
from valhalla.kit.registry import Search
from valhalla.kit.registry_routes.face import Face
from valhalla.kit.registry_routes.matching import Conditions
from valhalla.kit.registry_routes.typed import typed
from valhalla.kit.registry_routes.wire import (
    DiffOut,
    HistoryPage,
    PageQuery,
    Wires,
    change_document,
    difference_document,
)

_COUNTED: Final = 10_000
_UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "Nothing changed"}}


class DiffQuery(PageQuery):
    """Between which revisions."""

    before: int = Field(ge=0, le=2**53, description="the one revision", examples=[1])
    after: int | None = Field(None, ge=0, le=2**53, description="the other one; the newest when absent")


Key = Annotated[str, Path(max_length=512)]
NoneMatch = Annotated[str | None, Header(max_length=1000, description="the ETag that the reader has")]


def add_reading(routes: APIRouter, face: Face[Any], db: Database, made: Wires, path: str) -> None:
    """Add list, history, diff and one record; nothing here writes."""
    reader = Annotated[Principal, requires(face.read)]
    registry = face.registry

    async def listed(query: Any, principal: Principal) -> Response:
        headers: dict[str, str] = {}
        if face.followers is not None:
            if query.watch is not None and not await face.followers.wait(str(query.watch), query.wait):
                return Response(status_code=304, headers={"X-Revision": face.followers.revision})
            # from before the read: who watches from here misses nothing
            headers["X-Revision"] = face.followers.revision
        given = query.model_dump(exclude_none=True, mode="json")
        where = {name: _wanted(face, name, given[name]) for name in face.filters if name in given}
        search = Search(query.q, tuple(face.search)) if query.q else None
        page = await db.read(registry.page, limit=query.limit, cursor=query.cursor, where=where, search=search)
        total = await db.read(registry.count, where=where, search=search, most=_COUNTED)
        items = [face.document(record) for record in page.items]
        return _json({"items": items, "next": page.next, "total": total}, headers)

    async def history(query: Annotated[PageQuery, Query()], principal: Principal) -> Response:
        return _json(await _history(face, db, None, query))

    async def history_of(key: Key, query: Annotated[PageQuery, Query()], principal: Principal) -> Response:
        document = await _history(face, db, key, query)
        if not document["items"] and query.cursor is None:
            raise face.absent(key)
        return _json(document)

    async def diff(query: Annotated[DiffQuery, Query()], principal: Principal) -> Response:
        after = await db.read(registry.revision) if query.after is None else query.after
        found = await db.read(registry.diff, query.before, after)
        position = paging.decode(query.cursor)
        last = None if position is None else paging.text(position, "key")
        left = [each for each in found if last is None or each.key > last]
        items = left[: query.limit]
        following = paging.encode({"key": items[-1].key}) if len(left) > len(items) else None
        return _json({"items": [difference_document(face, each) for each in items], "next": following})

    async def get(key: Key, principal: Principal, if_none_match: NoneMatch = None) -> Response:
        record = await db.read(registry.find, key)
        if record is None:
            raise face.absent(key)
        headers = {"ETag": record.etag}
        if Conditions(none_match=if_none_match).unchanged(record.version):
            return Response(status_code=304, headers=headers)
        return _json(face.document(record), headers)

    noun = face.noun
    query = Annotated[made.query, Query()]
    for where_to, handler, model, summary in (
        ("", typed(listed, query=query, principal=reader), made.page, f"List {face.plural}"),
        ("/history", typed(history, principal=reader), HistoryPage, f"What happened to all {face.plural}"),
        ("/diff", typed(diff, principal=reader), DiffOut, f"What differs between two revisions of the {face.plural}"),
        (path + "/history", typed(history_of, principal=reader), HistoryPage, f"What happened to one {noun}"),
        (path, typed(get, principal=reader), made.out, f"One {noun}"),
    ):
        # of a list that is followed when nothing came in time, of a record to who has it as it is
        unchanged = where_to == path or (where_to == "" and face.followers is not None)
        routes.add_api_route(
            where_to,
            handler,
            methods=["GET"],
            response_model=model,
            summary=summary,
            responses=_UNCHANGED if unchanged else None,
        )


async def _history(face: Face[Any], db: Database, key: str | None, query: PageQuery) -> dict[str, Any]:
    page = await db.read(face.registry.history, key, limit=query.limit, cursor=query.cursor)
    return {"items": [change_document(face, change) for change in page.items], "next": page.next}


def _wanted(face: Face[Any], name: str, value: Any) -> Any:
    """Return what the stored member must contain: a list is asked for one of its elements."""
    return [value] if face.is_list(name) else value


def _json(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(dumps(document), headers=headers, media_type="application/json")
