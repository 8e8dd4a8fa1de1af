"""What the editor holds between two requests: everything is in the form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from valhalla.server.console import showing
from valhalla.server.console.flag_editor import forms
from valhalla.server.console.flag_editor.contracts import Draft
from valhalla.server.console.flag_editor.reading import read
from valhalla.server.console.flag_editor.writing import write

Document = dict[str, Any]
Tab = Literal["rules", "json"]


class State(NamedTuple):
    """``text`` is the definition as JSON; ``draft`` its rules, None where it has no such form."""

    text: str
    definition: Document
    draft: Draft | None
    tab: Tab
    fault: str | None
    """Why it cannot be meant so."""

    @property
    def variants(self) -> list[str]:
        """The names of the variants."""
        return _variants(self.definition)


def state_of(form: Mapping[str, str]) -> State:
    """Return what a form stands for, after its button was pressed."""
    text, pressed = form.get("_definition", ""), form.get("_do", "")
    wanted = pressed.removeprefix("tab:") if pressed.startswith("tab:") else form.get("_tab")
    tab: Tab = "json" if wanted == "json" else "rules"
    try:
        found: Any = showing.unpretty(text)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        return State(text, {}, None, "json", f"the definition is no JSON: {error}")
    definition = cast("Document", found)
    draft, fault = read(definition.get("targeting")), None
    if form.get("_tab") == "rules" and f"{forms.ELSE}-serve" in form:
        if "key" in form:
            definition["key"] = form["key"].strip()
        definition["state"] = "ENABLED" if form.get("enabled") else "DISABLED"
        definition["defaultVariant"] = form.get("default") or None
        try:
            typed = forms.read(form, _variants(definition), form.get("default", ""))
            draft = forms.press(typed, pressed)
            definition["targeting"] = write(draft)
        except ValueError as error:
            fault = str(error)
    return State(showing.pretty(definition), definition, draft, "json" if draft is None else tab, fault)


def _variants(definition: Mapping[str, Any]) -> list[str]:
    found: Any = definition.get("variants")
    return list(cast("Mapping[str, Any]", found)) if isinstance(found, dict) else []
