"""Any list of the API as a table: filters, keyset pages, CSV, and what can be done with all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from valhalla.server.console import copying, showing
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.calling import Refused
from valhalla.server.console.contracts import Above, Page
from valhalla.server.console.layout import Layout
from valhalla.server.console.live import Live
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.visit import Visit

_ROWS: Final = 50
_SHEET_PAGE: Final = 200
_PATIENCE: Final = 60.0
_UNFINISHED: Final = "THIS FILE IS NOT COMPLETE"


class Lists:
    """The view of every list."""

    def __init__(self, abilities: Abilities, layout: Layout, live: Live) -> None:
        self._abilities = abilities
        self._layout = layout
        self._live = live

    async def table(self, visit: Visit, page: Page) -> Response:
        """Show a page of the list; with htmx only the table itself."""
        chosen = self._chosen(visit, page)
        asked = {**chosen, **self._limit(page), "cursor": visit.query.get("cursor")}
        standing = await self._live.standing(visit, page.topics)
        document = await visit.caller.get(page.path, asked)
        if page.report:
            return self._report(visit, page, document, chosen, standing)
        items, following = _items(document, page)
        above = [each for one in page.above if (each := await self._above(visit, one)) is not None]
        caller, abilities = visit.caller, self._abilities
        rows = [(_key(item, page), item, abilities.actions(caller, page, item)) for item in items]
        return self._layout.answer(
            visit,
            "table.html" if not visit.partial else "table_rows.html" if _is_renewal(visit) else "table_part.html",
            page=page,
            standing=standing,
            rows=rows,
            total=showing.pick(document, "total"),
            following=following,
            cursor=visit.query.get("cursor"),
            filters=abilities.index.filters(page.path),
            chosen=chosen,
            carried=self._carried(page, chosen),
            tools=abilities.tools(caller, page),
            each=abilities.each(caller, page) if rows else (),
            history=abilities.changes(page),
            aboves=above,
            command=copying.listing(page.cli, chosen),
            curl=showing.curl("GET", visit.origin + _address(page.path, chosen)),
        )

    def _report(self, visit: Visit, page: Page, document: Any, chosen: Mapping[str, str], standing: str) -> Response:
        if visit.partial and not _is_renewal(visit):
            # all of it depends on the filters
            return Response(status_code=204, headers={**HEADERS, "HX-Redirect": visit.path(page.slug, **chosen)})
        return self._layout.answer(
            visit,
            "report_rows.html" if visit.partial else "report.html",
            page=page,
            standing=standing,
            document=document,
            filters=self._abilities.index.filters(page.path),
            chosen=chosen,
            tools=self._abilities.tools(visit.caller, page),
            curl=showing.curl("GET", visit.origin + _address(page.path, chosen)),
        )

    async def sheet(self, visit: Visit, page: Page) -> Response:
        """Return everything that the filters leave as CSV, a page at a time; a file that ends early says so."""
        chosen = self._chosen(visit, page)
        # refused before the first byte, or the file would hold the refusal
        first = await visit.caller.get(page.path, {**chosen, **self._limit(page, _SHEET_PAGE)})

        async def lines() -> AsyncGenerator[str]:
            document, head = first, True
            while True:
                items, following = _items(document, page)
                yield showing.sheet(page.columns, items, head=head)
                head = False
                if following is None:
                    return
                query = {**chosen, **self._limit(page, _SHEET_PAGE), "cursor": following}
                try:
                    document = await _patiently(visit, page.path, query)
                except Refused as refused:
                    yield showing.line(_UNFINISHED, str(refused), "Ask for it again.")
                    return

        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{page.slug}.csv"'}
        return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)

    async def everything(self, visit: Visit, page: Page, most: int) -> tuple[list[Any], bool]:
        """Return what the filters leave, ``most`` at most, and whether there is more."""
        query: dict[str, Any] = {**self._chosen(visit, page), **self._limit(page, _SHEET_PAGE)}
        found: list[Any] = []
        following: str | None = ""
        while following is not None and len(found) < most:
            items, following = _items(await visit.caller.get(page.path, {**query, "cursor": following}), page)
            found += items
        return found[:most], following is not None or len(found) > most

    def address(self, visit: Visit, page: Page) -> str:
        """Return where the list is, as it is filtered."""
        carried = self._carried(page, self._chosen(visit, page))
        return visit.path(page.slug) + (f"?{urlencode(carried)}" if carried else "")

    async def history(self, visit: Visit, page: Page, path: str) -> Response:
        """Show who changed what in a registry."""
        document = await visit.caller.get(path, {"limit": 50, "cursor": visit.query.get("cursor")})
        return self._layout.answer(
            visit, "history.html", page=page, key=None, items=document["items"], following=document["next"]
        )

    async def _above(self, visit: Visit, one: Above) -> tuple[str, Any] | None:
        """Return a template and what it shows; None where that needs a right of its own that is not held."""
        if visit.partial or not visit.caller.allows(self._abilities.index.scope("GET", one.path)):
            return None
        try:
            return one.template, await visit.caller.get(one.path, {name: visit.query.get(name) for name in one.carries})
        except Refused as refused:
            # the table is worth seeing without it
            return "above_refused.html", refused.problem

    def _chosen(self, visit: Visit, page: Page) -> dict[str, str]:
        known = [each.name for each in self._abilities.index.filters(page.path)]
        chosen = {name: visit.query[name] for name in known if visit.query.get(name)}
        if not any(name in visit.query for name in known):
            chosen |= page.defaults or {}
        return chosen

    def _carried(self, page: Page, chosen: Mapping[str, str]) -> Mapping[str, str]:
        """Return the filters as links have to say them: where none is chosen, that the page's own do not hold."""
        filters = self._abilities.index.filters(page.path)
        return chosen if chosen or not (filters and page.defaults) else {filters[0].name: ""}

    def _limit(self, page: Page, rows: int = _ROWS) -> dict[str, int]:
        return {"limit": rows} if self._abilities.index.takes("GET", page.path, "limit") else {}


def _is_renewal(visit: Visit) -> bool:
    """Say whether the rows ask for themselves: other filters change also what acts on all that match."""
    return visit.request.headers.get("hx-trigger") == "rows"


async def _patiently(visit: Visit, path: str, query: Mapping[str, Any]) -> Any:
    """Ask for a page of many, and wait where the person's limits want that.

    Raises:
        Refused: the API says no, or wants a longer wait.
    """
    while True:
        try:
            return await visit.caller.get(path, query)
        except Refused as refused:
            wait = refused.problem.get("retry_after")
            if refused.status != 429 or not isinstance(wait, (int, float)) or wait > _PATIENCE:
                raise
            await asyncio.sleep(max(wait, 0.05))


def _items(document: Any, page: Page) -> tuple[list[Any], str | None]:
    if isinstance(document, list):
        return document, None  # pyright: ignore[reportUnknownVariableType]
    return document.get(page.items) or [], document.get("next")


def _key(item: Any, page: Page) -> str:
    found = showing.pick(item, page.key)
    return "" if found is None else str(found)


def _address(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
