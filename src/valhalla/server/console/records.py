"""Any record of the API as a page: its members, what other paths say of it, its history, what can be done with it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from valhalla.server.console import parts, showing
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.api_index import fill
from valhalla.server.console.calling import Refused
from valhalla.server.console.contracts import Page, Section
from valhalla.server.console.errors import NoSuchPage
from valhalla.server.console.layout import Layout
from valhalla.server.console.live import Live
from valhalla.server.console.parts import Parts
from valhalla.server.console.visit import Visit


class Records:
    """The view of every record."""

    def __init__(self, abilities: Abilities, layout: Layout, live: Live) -> None:
        self._abilities = abilities
        self._layout = layout
        self._live = live

    async def record(self, visit: Visit, page: Page, key: str) -> Response:
        """Show one record.

        Raises:
            NoSuchPage: the list's items have no pages.
        """
        if not page.one:
            raise NoSuchPage
        if visit.query.get("view") == "history" and (history := self._abilities.history(page)) is not None:
            return await self._history(visit, page, key, fill(history, key))
        standing = await self._live.standing(visit, page.topics)
        document = await visit.caller.get(fill(page.one, key))
        sections = await asyncio.gather(*(self._section(visit, page, key, each, document) for each in page.sections))
        return self._layout.answer(
            visit,
            page.template,
            page=page,
            standing=standing,
            key=key,
            name=showing.pick(document, page.name) or key if page.name else key,
            record=document,
            sections=[each for each in sections if each is not None],
            actions=self._abilities.actions(visit.caller, page, document),
            history=self._abilities.history(page),
            curl=showing.curl("GET", visit.origin + fill(page.one, key)),
        )

    async def _history(self, visit: Visit, page: Page, key: str, path: str) -> Response:
        document = await visit.caller.get(path, {"limit": 50, "cursor": visit.query.get("cursor")})
        rollback = self._abilities.find(page, "rollback", one=True)
        return self._layout.answer(
            visit,
            "history.html",
            page=page,
            key=key,
            items=document["items"],
            following=document["next"],
            may_roll_back=rollback is not None and self._abilities.may(visit.caller, page, rollback),
        )

    async def _section(
        self, visit: Visit, page: Page, key: str, section: Section, record: Mapping[str, Any]
    ) -> tuple[Section, Any, Mapping[str, Any] | None] | None:
        """Return what a section shows, or why it cannot; None for who may not see it."""
        template = section.path.replace("{one}", page.one)
        about = str(showing.pick(record, section.of)) if section.of else key
        method = "GET" if section.body is None else "POST"
        allowed = visit.caller.allows(self._abilities.index.scope(method, template))
        if not allowed or not about.startswith(section.begins):
            return None
        if isinstance(section, Parts):
            return await self._parts(visit, page, key, section, record) if section.fits(record) else None
        query: dict[str, Any] = {**(section.always or {})}
        query |= {name: showing.pick(record, member) for name, member in (section.query or {}).items()}
        path = fill(template, about.removeprefix(section.begins))
        try:
            if section.body is None:
                return section, await visit.caller.get(path, query), None
            body = {name: showing.pick(record, member) for name, member in section.body.items()}
            answer = await visit.caller.send("POST", path, query={**query, "dry_run": "true"}, body=body)
            return section, answer.document(), None
        except Refused as refused:
            return section, None, refused.problem

    async def _parts(
        self, visit: Visit, page: Page, key: str, section: Parts, record: Mapping[str, Any]
    ) -> tuple[Section, Any, Mapping[str, Any] | None]:
        try:
            found = await parts.read(visit.caller, page, key, section)
        except Refused as refused:
            return section, None, refused.problem
        may = section.action is not None and self._abilities.may(visit.caller, page, section.action)
        name = shlex.quote(str(showing.pick(record, page.name) or key))
        return section, {**found._asdict(), "may": may, "command": section.more.replace("{name}", name)}, None
