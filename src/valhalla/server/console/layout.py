"""What every page has around it: navigation by scope, the person, the commands to copy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from starlette.responses import Response

from valhalla.server.console import copying
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.calling import Caller
from valhalla.server.console.contracts import Page
from valhalla.server.console.rendering import Pages
from valhalla.server.console.visit import Visit


class Layout:
    """Renders pages of people who are signed in."""

    def __init__(self, pages: Pages, abilities: Abilities) -> None:
        self._pages = pages
        self._abilities = abilities

    def answer(
        self, visit: Visit, template: str, status: int = 200, *, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """Return a page."""
        session = visit.caller.session
        return self._pages.answer(
            template,
            status,
            headers=headers,
            visit=visit,
            base=visit.base,
            path=visit.path,
            person=session.principal,
            form_token=session.form_token,
            # what scripts and links carry on from this address
            here=visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else ""),
            done=visit.query.get("done"),
            undo=visit.query.get("undo") if visit.query.get("undone") else None,
            shown_by=copying.one,
            navigation=() if visit.partial else self.navigation(visit.caller),
            **values,
        )

    def navigation(self, caller: Caller) -> list[tuple[str, list[Page]]]:
        """Return the pages that the person may see, by group."""
        seen = [page for page in self._abilities.pages.values() if caller.allows(self._abilities.scope(page))]
        return [(group, list(pages)) for group, pages in groupby(seen, key=lambda page: page.group)]
