"""One action on everything that a table's filters leave: first what it would be done to, then exactly that.

It is done in steps, each a form that the page sends by itself: so it is seen how far it is, and it can be stopped.
What is left and what came of the rest travels in the form; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from starlette.responses import Response

from valhalla.kernel.problems import Invalid
from valhalla.server.console import parts, showing
from valhalla.server.console.abilities import Abilities, fits
from valhalla.server.console.calling import Refused
from valhalla.server.console.commands import Commanded
from valhalla.server.console.contracts import Action, Page
from valhalla.server.console.errors import NoSuchPage
from valhalla.server.console.layout import Layout
from valhalla.server.console.lists import Lists
from valhalla.server.console.mass import Mass, Result, Target, Where
from valhalla.server.console.parts import Parts
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

T = TypeVar("T")
MOST: Final = 1000
_TOLD: Final = 100


class Fault(NamedTuple):
    """Who was refused, and why."""

    name: str
    title: str
    detail: str


class Told(NamedTuple):
    """What came of the steps until now; of refusals the first hundred are told."""

    total: int
    worked: int = 0
    refused: int = 0
    faults: tuple[Fault, ...] = ()

    @property
    def done(self) -> int:
        """How many were tried."""
        return self.worked + self.refused

    def and_(self, results: Sequence[Result]) -> Told:
        """Return it with those of a further step."""
        faults = [
            Fault(one.target.name or one.target.key, str(one.problem.get("title", "")), str(one.problem.get("detail")))
            for one in results
            if one.problem is not None
        ]
        refused = self.refused + len(faults)
        return Told(self.total, self.worked + len(results) - len(faults), refused, (*self.faults, *faults)[:_TOLD])


class Many:
    """The view of actions on all that match."""

    def __init__(self, abilities: Abilities, layout: Layout, lists: Lists, sessions: Sessions) -> None:
        self._abilities = abilities
        self._layout = layout
        self._lists = lists
        self._sessions = sessions
        self._mass = Mass(abilities)

    async def act(self, visit: Visit, page: Page, name: str) -> Response:
        """Show what an action would be done to, try it, or do its next step.

        Raises:
            NoSuchPage: the page has no such action for many, or not for this key.
            FormRefused: the form was not made for this session.
        """
        if (found := parts.of(page, name)) is not None:
            return await self._act_on_parts(visit, page, *found)
        action = self._abilities.find_each(page, name)
        if action is None or not self._abilities.may(visit.caller, page, action):
            raise NoSuchPage
        if visit.request.method == "GET":
            items, more = await self._lists.everything(visit, page, MOST)
            found = [_target(item, page) for item in items if fits(action, item)]
            return self._page(visit, page, action, found, {}, skipped=len(items) - len(found), more=more)
        form, targets = await self._sent(visit)
        try:
            if form.get("_preview") and self._abilities.previews(page, action):
                tried = await self._mass.do(visit, page, action, targets, form, dry=True)
                return self._page(visit, page, action, targets, form, tried=tried)
            return await self._step(visit, page, action, targets, form)
        except Invalid as problem:
            return self._page(visit, page, action, targets, form, problem=problem.document(), status=422)
        except Refused as refused:
            return self._page(visit, page, action, targets, form, problem=refused.problem, status=refused.status)

    async def _act_on_parts(self, visit: Visit, page: Page, section: Parts, action: Action) -> Response:
        """Show what an action would be done to of one record's parts, or do its next step.

        Raises:
            NoSuchPage: no record is named, or the key may not do it.
            Refused: the parts cannot be read.
        """
        key = visit.query.get("key", "")
        if not key or not self._abilities.may(visit.caller, page, action):
            raise NoSuchPage
        around: dict[str, Any] = {"back": visit.path(page.slug, key), "things": section.title.lower()}
        if visit.request.method == "GET":
            only = visit.query.get("only")
            found = await parts.read(visit.caller, page, key, section)
            chosen = [one for one in found.parts if only in (None, one.token)]
            targets = [Target(one.token, one.name, None, "") for one in chosen]
            more = found.more and only is None
            return self._page(
                visit, page, action, targets, {}, more=more, command=_command(key, action, targets), **around
            )
        form, targets = await self._sent(visit)

        def where(target: Target) -> str:
            return parts.path(page, key, action, target.key)

        for target in targets:
            where(target)  # what cannot be read is found out before the first of them is done
        try:
            return await self._step(visit, page, action, targets, form, where, **around)
        except Invalid as problem:
            return self._page(visit, page, action, targets, form, problem=problem.document(), status=422, **around)

    async def _sent(self, visit: Visit) -> tuple[Mapping[str, str], list[Target]]:
        form = await visit.form(self._sessions, visit.caller.session.digest)
        targets = _read(form.get("_targets", ""), list[Target])
        if len(targets) > MOST:
            raise Invalid(f"more than {MOST} at once")
        return form, targets

    async def _step(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        targets: Sequence[Target],
        form: Mapping[str, str],
        where: Where | None = None,
        **around: Any,
    ) -> Response:
        told = _read(form["_told"], Told) if form.get("_told") else Told(len(targets))
        if not form.get("_stop"):
            size = self._mass.step(page, action)
            done = await self._mass.do(visit, page, action, targets[:size], form, dry=False, where=where)
            told, targets = told.and_(done), targets[size:]
        going = bool(targets) and not form.get("_stop")
        return self._page(visit, page, action, targets, form, told=told, going=going, **around)

    def _page(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        targets: Sequence[Target],
        form: Mapping[str, str],
        *,
        status: int = 200,
        tried: Sequence[Result] | None = None,
        told: Told | None = None,
        **values: Any,
    ) -> Response:
        said: dict[str, Any] = {"problem": None, "going": False, "skipped": 0, "more": False, "command": ""}
        said |= {"things": page.title.lower(), "back": self._lists.address(visit, page), **values}
        return self._layout.answer(
            visit,
            "many_steps.html" if visit.partial and told is not None else "many.html",
            status,
            page=page,
            action=action,
            targets=targets,
            shown=targets[:_TOLD],
            packed=showing.packed(targets),
            fields=[(each, form.get(each.name, each.default)) for each in self._abilities.fields(page, action)],
            previews=self._abilities.previews(page, action),
            tried=None if tried is None else Told(len(targets)).and_(tried),
            changes=[change for each in tried or () for change in _changes(each.document)][:_TOLD],
            told=told,
            packed_told=showing.packed(told),
            **said,
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


def _command(key: str, action: Action, targets: Sequence[Target]) -> str:
    """Return the command that does it to the one part that was chosen."""
    if len(targets) != 1 or not isinstance(action, Commanded):
        return ""
    return action.command(key, [(each, each.default) for each in action.fields], {"part": targets[0].name})


def _read(text: str, kind: type[T]) -> T:
    try:
        return showing.unpacked(text, kind)
    except ValueError as error:
        raise Invalid("the list of what it is for cannot be read") from error


def _changes(document: Any) -> Sequence[Mapping[str, Any]]:
    found: Any = showing.pick(document, "items")
    return found if isinstance(found, list) else ()  # pyright: ignore[reportUnknownVariableType]
