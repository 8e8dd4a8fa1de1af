"""The page on which a flag is edited: what would come of it is asked of the API at every step, before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import RedirectResponse, Response

from valhalla.kernel.problems import Invalid
from valhalla.server.console import showing
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.calling import Refused
from valhalla.server.console.contracts import Action, Page
from valhalla.server.console.flag_editor import forms, layers
from valhalla.server.console.flag_editor.contracts import OPERATORS
from valhalla.server.console.flag_editor.state import State, state_of
from valhalla.server.console.layout import Layout
from valhalla.server.console.rendering import HEADERS
from valhalla.server.console.sessions import Sessions
from valhalla.server.console.visit import Visit

_CONTEXT: Final = '{"targetingKey": "user-1"}'
_SAMPLES: Final = 1000
# buttons that change the form itself: what is not filled in yet is no mistake
_STEPS: Final = frozenset({"add", "and", "up", "down", "remove", "drop"})


class Editor:
    """Rules and JSON of one flag: two forms of one definition, which travels in the form."""

    def __init__(self, abilities: Abilities, layout: Layout, sessions: Sessions) -> None:
        self._abilities = abilities
        self._layout = layout
        self._sessions = sessions

    async def answer(
        self, visit: Visit, page: Page, action: Action, key: str, record: Mapping[str, Any], first: str
    ) -> Response:
        """Show the editor, take a step in it, or save. ``first`` is the definition that it begins with.

        Raises:
            FormRefused: the form was not made for this session.
        """
        form: Mapping[str, str] = {"_definition": first, "_version": str(record.get("version", ""))}
        if visit.request.method == "POST":
            form = await visit.form(self._sessions, visit.caller.session.digest)
        pressed = form.get("_do", "")
        state = state_of(form)
        problem = None if state.fault is None else Invalid(state.fault).document()
        if pressed == "save" and problem is None:
            return await self._save(visit, page, action, key, form, state)
        if pressed.partition(":")[0] in _STEPS:
            problem = None
        outcome: Mapping[str, Any] = {"problem": problem, "preview": None, "changes": None}
        if state.fault is None:
            outcome = await self._outcome(visit, page, action, key, form, state)
        if pressed == "outcome":
            return self._layout.answer(visit, "flag_outcome.html", **outcome)
        return self._page(visit, page, action, key, form, state, 422 if problem else 200, outcome)

    async def _save(
        self, visit: Visit, page: Page, action: Action, key: str, form: Mapping[str, str], state: State
    ) -> Response:
        try:
            # what the dry run refuses was not tried for real
            await self._send(visit, page, action, key, form, state, dry_run=True)
            made = await self._send(visit, page, action, key, form, state, dry_run=False)
        except Refused as refused:
            outcome = {"problem": refused.problem, "preview": None, "changes": None}
            return self._page(visit, page, action, key, form, state, max(refused.status, 400), outcome)
        return RedirectResponse(visit.path(page.slug, str(made["key"]), done=action.name), 303, headers=HEADERS)

    async def _send(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        key: str,
        form: Mapping[str, str],
        state: State,
        *,
        dry_run: bool,
    ) -> Any:
        query = {"reason": form.get("reason", ""), **({"dry_run": "true"} if dry_run else {})}
        # what was read is what is changed: somebody else's edit in between is not overwritten
        match = {"if-match": f'"{form["_version"]}"'} if key and form.get("_version") else {}
        path = self._abilities.path(page, action, key)
        sent = await visit.caller.send(action.method, path, query=query, body=state.definition, headers=match)
        return sent.document()

    async def _outcome(
        self, visit: Visit, page: Page, action: Action, key: str, form: Mapping[str, str], state: State
    ) -> Mapping[str, Any]:
        """Return what would change, and who would be served what."""
        nothing = {"preview": None, "changes": None}
        try:
            written = await self._send(visit, page, action, key, form, state, dry_run=True)
            body = {
                "key": key or str(state.definition.get("key", "")),
                "definition": {name: value for name, value in state.definition.items() if name != "key"},
                "environment": form.get("environment") or layers.place(state.layer, state.part),
                "context": showing.unpretty(form.get("context") or _CONTEXT),
                "samples": _SAMPLES,
            }
            preview = (await visit.caller.send("POST", f"{page.path}/preview", body=body)).document()
        except Refused as refused:
            return {"problem": refused.problem, **nothing}
        except ValueError as error:
            return {"problem": Invalid(f"the context is no JSON: {error}").document(), **nothing}
        return {"problem": None, "preview": preview, "changes": written["items"]}

    def _page(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        key: str,
        form: Mapping[str, str],
        state: State,
        status: int,
        outcome: Mapping[str, Any],
    ) -> Response:
        address = visit.origin + self._abilities.path(page, action, key)
        return self._layout.answer(
            visit,
            "flag_editor.html",
            status,
            page=page,
            action=action,
            key=key,
            state=state,
            operators=OPERATORS,
            layers=layers.layers(state.definition),
            at=layers.typed_at(state.part),
            object_version=form.get("_version", ""),
            context=form.get("context") or _CONTEXT,
            environment=form.get("environment", ""),
            reason=form.get("reason", ""),
            sliders=forms.sliders,
            chosen=forms.chosen,
            total=forms.total,
            curl=showing.curl(action.method, address, state.definition),
            **outcome,
        )
