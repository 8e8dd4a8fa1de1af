"""One action on everything that a table's filters leave: first what it would be done to, then exactly that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from valhalla.kernel.problems import Invalid
from valhalla.server.console import forms, showing
from valhalla.server.console.abilities import Abilities, fits
from valhalla.server.console.calling import Refused
from valhalla.server.console.contracts import Action, Page
from valhalla.server.console.errors import NoSuchPage
from valhalla.server.console.layout import Layout
from valhalla.server.console.lists import Lists
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

MOST: Final = 1000
_AT_ONCE: Final = 4
_TOLD: Final = 100


class Target(NamedTuple):
    """One record as it was looked at; it is not touched once it is another."""

    key: str
    name: str
    version: int | None
    fingerprint: str


class Result(NamedTuple):
    """What became of one target: what was answered, or why it was refused."""

    target: Target
    document: Any
    problem: Mapping[str, Any] | None


class Many:
    """The view of actions on all that match."""

    def __init__(self, abilities: Abilities, layout: Layout, lists: Lists, sessions: Sessions) -> None:
        self._abilities = abilities
        self._layout = layout
        self._lists = lists
        self._sessions = sessions

    async def act(self, visit: Visit, page: Page, name: str) -> Response:
        """Show what an action would be done to, try it, or do it.

        Raises:
            NoSuchPage: the page has no such action for many, or not for this key.
            FormRefused: the form was not made for this session.
        """
        action = self._abilities.find_each(page, name)
        if action is None or not self._abilities.may(visit.caller, page, action):
            raise NoSuchPage
        if visit.request.method == "GET":
            items, more = await self._lists.everything(visit, page, MOST)
            found = [_target(item, page) for item in items if fits(action, item)]
            return self._page(visit, page, action, found, {}, skipped=len(items) - len(found), more=more)
        form = await visit.form(self._sessions, visit.caller.session.digest)
        targets = _read(form.get("_targets", ""))
        dry = bool(form.get("_preview")) and self._abilities.previews(page, action)
        try:
            results = await self._do(visit, page, action, targets, form, dry=dry)
        except Invalid as problem:
            return self._page(visit, page, action, targets, form, problem=problem.document(), status=422)
        except Refused as refused:
            return self._page(visit, page, action, targets, form, problem=refused.problem, status=refused.status)
        return self._page(visit, page, action, targets, form, results=results, acted=not dry)

    async def _do(
        self, visit: Visit, page: Page, action: Action, targets: Sequence[Target], form: Mapping[str, str], *, dry: bool
    ) -> list[Result]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(target: Target) -> Result:
            record = {"fingerprint": target.fingerprint}
            filled = forms.fill(action, self._abilities.fields(page, action), form, record)
            query = {**filled.query, **({"dry_run": "true"} if dry else {})}
            match = {} if target.version is None else {"if-match": f'"{target.version}"'}
            path = self._abilities.path(page, action, target.key)
            try:
                async with turns:
                    answer = await visit.caller.send(action.method, path, query=query, body=filled.body, headers=match)
                    return Result(target, answer.document(), None)
            except Refused as refused:
                return Result(target, None, refused.problem)

        return list(await asyncio.gather(*map(one, targets)))

    def _page(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        targets: Sequence[Target],
        form: Mapping[str, str],
        *,
        status: int = 200,
        results: Sequence[Result] | None = None,
        **values: Any,
    ) -> Response:
        told: dict[str, Any] = {"problem": None, "acted": False, "skipped": 0, "more": False, **values}
        refused = [each for each in results or () if each.problem is not None]
        return self._layout.answer(
            visit,
            "many.html",
            status,
            page=page,
            action=action,
            targets=targets,
            shown=targets[:_TOLD],
            packed=showing.packed(targets),
            fields=[(each, form.get(each.name, each.default)) for each in self._abilities.fields(page, action)],
            previews=self._abilities.previews(page, action),
            results=results,
            worked=0 if results is None else len(results) - len(refused),
            refused=refused[:_TOLD],
            changes=[change for each in results or () for change in _changes(each.document)][:_TOLD],
            back=self._lists.address(visit, page),
            **told,
        )


def _target(item: Any, page: Page) -> Target:
    version: Any = showing.pick(item, "version")
    name = showing.pick(item, page.name or page.key)
    fingerprint = showing.pick(item, "fingerprint")
    return Target(
        str(showing.pick(item, page.key) or ""),
        str(name or ""),
        version if isinstance(version, int) and page.one else None,
        str(fingerprint or ""),
    )


def _read(text: str) -> list[Target]:
    try:
        found = showing.unpacked(text, list[Target])
    except ValueError as error:
        raise Invalid("the list of what it is for cannot be read") from error
    if len(found) > MOST:
        raise Invalid(f"more than {MOST} at once")
    return found


def _changes(document: Any) -> Sequence[Mapping[str, Any]]:
    found: Any = showing.pick(document, "items")
    return found if isinstance(found, list) else ()  # pyright: ignore[reportUnknownVariableType]
