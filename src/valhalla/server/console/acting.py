"""Doing something: a form that says what will be sent, what it would change, and then what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.responses import RedirectResponse, Response

from valhalla.kernel.problems import Invalid
from valhalla.kit.correlation import correlation_id
from valhalla.server.console import forms, showing
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.api_index import fill
from valhalla.server.console.calling import Answer, Refused
from valhalla.server.console.contracts import Action, Field, Page
from valhalla.server.console.errors import NoSuchPage
from valhalla.server.console.flag_editor import Editor
from valhalla.server.console.layout import Layout
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

# what an address says of the last action
_SAID: Final = frozenset({"done", "undo", "undone"})


class Acting:
    """The view of every action."""

    def __init__(self, abilities: Abilities, layout: Layout, sessions: Sessions) -> None:
        self._abilities = abilities
        self._layout = layout
        self._sessions = sessions
        self._editor = Editor(abilities, layout, sessions)

    async def action(self, visit: Visit, page: Page, name: str) -> Response:
        """Show an action's form, preview it, or do it.

        Raises:
            NoSuchPage: the page has no such action, or not for this key.
            Refused: the record cannot be read.
        """
        key = visit.query.get("key", "")
        action = self._abilities.find(page, name, one=bool(key))
        if action is None or not self._abilities.may(visit.caller, page, action):
            raise NoSuchPage
        record: Mapping[str, Any] = {}
        if key and page.one and visit.caller.allows(self._abilities.index.scope("GET", page.one)):
            try:
                record = await visit.caller.get(fill(page.one, key))
            except Refused as refused:
                # what was deleted can still be brought back
                if refused.status != 404 or action.name != "rollback":
                    raise
        if action.editor:
            first = self._definition(page, action, record)
            return await self._editor.answer(visit, page, action, key, record, first)
        if visit.request.method == "GET":
            typed = {"_definition": self._definition(page, action, record)} if action.whole else {}
            return self._form(visit, page, action, key, record, typed)
        form = await visit.form(self._sessions, visit.caller.session.digest)
        return await self._do(visit, page, action, key, record, form)

    async def _do(
        self, visit: Visit, page: Page, action: Action, key: str, record: Mapping[str, Any], form: Mapping[str, str]
    ) -> Response:
        preview = bool(form.get("_preview")) and self._abilities.previews(page, action)
        named = next((form.get(each.name, "").strip() for each in action.fields if each.path), "")
        path = self._abilities.path(page, action, key or named)
        try:
            if named and not await self._is_gone(visit, page, named):
                raise Invalid(f"there is a {page.thing} of this name already")
            filled = forms.fill(action, self._abilities.fields(page, action), form, record)
            query = {**filled.query, **({"dry_run": "true"} if preview else {})}
            # what was read is what is changed: somebody else's edit in between is not overwritten
            match = {"if-match": f'"{form["_version"]}"'} if form.get("_version") else {}
            answer = await visit.caller.send(action.method, path, query=query, body=filled.body, headers=match)
            document = answer.document()
        except Invalid as problem:
            return self._form(visit, page, action, key, record, form, problem=problem.document(), status=422)
        except Refused as refused:
            return self._form(
                visit, page, action, key, record, form, problem=refused.problem, status=max(refused.status, 400)
            )
        if preview:
            return self._form(visit, page, action, key, record, form, outcome=document)
        if action.shows:
            return self._shown(visit, page, action, key, answer, document)
        undo = await self._before(visit, page, key, action)
        back = form.get("_back", "")
        where = back if visit.is_here(back) else visit.path(page.slug)
        if action.method == "DELETE" and key and page.one and await self._is_gone(visit, page, key):
            # who removed it from its own page would be led back to nothing; the page is known by its unquoted path
            own = unquote(where.partition("?")[0]) == unquote(visit.path(page.slug, key))
            where = visit.path(page.slug) if own else where
        return RedirectResponse(_told(where, {"done": action.name, **undo}), 303, headers=HEADERS)

    async def _is_gone(self, visit: Visit, page: Page, key: str) -> bool:
        try:
            await visit.caller.get(fill(page.one, key))
        except Refused as refused:
            return refused.status in (404, 410)
        return False

    async def _before(self, visit: Visit, page: Page, key: str, action: Action) -> Mapping[str, str]:
        """Return how a change of a registry's record is taken back: to the revision before it."""
        history, rollback = self._abilities.history(page), self._abilities.find(page, "rollback", one=True)
        if not key or history is None or rollback is None or not self._abilities.may(visit.caller, page, rollback):
            return {}
        try:
            changes: Any = await visit.caller.get(fill(history, key), {"limit": 1})
        except Refused:
            return {}
        newest = changes["items"][0] if changes["items"] else None
        # what changed nothing has nothing to take back: the newest revision may be an older one, or somebody else's
        if newest is None or newest["correlation_id"] != correlation_id() or action.name == "rollback":
            return {}
        return {"undo": str(newest["revision"] - 1), "undone": key}

    def _shown(self, visit: Visit, page: Page, action: Action, key: str, answer: Answer, document: Any) -> Response:
        made = key or (str(showing.pick(document, page.key) or "") if page.one else "")
        return self._layout.answer(
            visit, "shown.html", page=page, action=action, key=made, document=document, replied=answer.status
        )

    def _form(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        key: str,
        record: Mapping[str, Any],
        typed: Mapping[str, str],
        *,
        problem: Mapping[str, Any] | None = None,
        outcome: Any = None,
        status: int = 200,
    ) -> Response:
        path = self._abilities.path(page, action, key)
        fields = self._abilities.fields(page, action)
        shown = [(each, _typed(each, action, typed, visit.query, record)) for each in fields]
        back = typed.get("_back") or visit.query.get("back", "")
        return self._layout.answer(
            visit,
            "action_form.html" if visit.partial else "action.html",
            status,
            page=page,
            action=action,
            key=key,
            name=showing.pick(record, page.name) or key if page.name else key,
            record=record,
            fields=shown,
            definition=typed.get("_definition", ""),
            object_version=typed.get("_version") or record.get("version") if action.whole else None,
            members=self._abilities.index.members(action.method, self._abilities.template(page, action)),
            previews=self._abilities.previews(page, action),
            problem=problem,
            outcome=outcome,
            back=back if visit.is_here(back) else "",
            curl=_command(visit.origin + path, action, shown, typed, record),
        )

    def _definition(self, page: Page, action: Action, record: Mapping[str, Any]) -> str:
        """Return what stands in the editor first: the record's members that can be written, or the API's example."""
        members = self._abilities.index.members(action.method, self._abilities.template(page, action))
        known = {name: record[name] for name in members if name in record}
        examples = {name: value for name, value in members.items() if value is not None}
        return showing.pretty(known or examples)


def _told(where: str, said: Mapping[str, str]) -> str:
    """Return an address that says what was done last; what it said of an action before is over."""
    path, _, query = where.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name not in _SAID]
    return f"{path}?{urlencode([*kept, *said.items()])}"


def _command(
    address: str,
    action: Action,
    shown: Sequence[tuple[Field, str]],
    typed: Mapping[str, str],
    record: Mapping[str, Any],
) -> str:
    """Return the request as a command, with what is typed as far as that can be sent."""
    try:
        filled = forms.fill(action, [each for each, _ in shown], {**typed, **{e.name: v for e, v in shown}}, record)
    except Invalid:
        filled = forms.Filled({}, action.body)
    query = urlencode(filled.query)
    return showing.curl(action.method, f"{address}?{query}" if query else address, filled.body)


def _typed(
    field: Field, action: Action, typed: Mapping[str, str], query: Mapping[str, str], record: Mapping[str, Any]
) -> str:
    """Return what stands in an input: what was typed, what its address says, what the record has, or its default."""
    # a definition alone is the editor's first text, and nobody's typing
    if typed.keys() - {"_definition"}:
        return typed.get(field.name, "")
    begun = forms.begun(field, record) if action.prefilled and record else field.default
    return query.get(field.name.rpartition(".")[2], begun)
