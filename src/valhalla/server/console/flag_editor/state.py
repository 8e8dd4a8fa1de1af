"""What the editor holds between two requests: everything is in the form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from valhalla.server.console import showing
from valhalla.server.console.flag_editor import forms, layers
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
    layer: str = layers.EVERYWHERE
    """Which part of it the form is about: the flag itself, one of its environments, or a step of its schedule."""

    @property
    def part(self) -> Document:
        """The members of that part."""
        return layers.part(self.definition, self.layer) or {}

    @property
    def own(self) -> layers.Own:
        """Whether that part has rules of its own."""
        return layers.own(self.part)

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
    layer = form.get("_layer", layers.EVERYWHERE)
    layer = layers.EVERYWHERE if layers.part(definition, layer) is None else layer
    draft, fault = _draft(definition, layer), None
    if form.get("_tab") == "rules" and ("_layer" in form or f"{forms.ELSE}-serve" in form):
        try:
            draft = _typed(definition, layer, form) or draft
            moved = layers.press(definition, layer, pressed, form)
            layer, draft = moved, draft if moved == layer else _draft(definition, moved)
        except _TypedError as error:
            draft, fault = error.draft, str(error)
        except ValueError as error:
            fault = str(error)
    return State(showing.pretty(definition), definition, draft, "json" if draft is None else tab, fault, layer)


class _TypedError(ValueError):
    """Rules that cannot be meant; they stay as they were typed."""

    def __init__(self, draft: Draft, why: str) -> None:
        self.draft = draft
        super().__init__(why)


def _typed(definition: Document, layer: str, form: Mapping[str, str]) -> Draft | None:
    """Put what was typed into the definition, and return the rules after the button; None where none were shown."""
    members, draft, targeting = layers.part(definition, layer), None, None
    assert members is not None
    if f"{forms.ELSE}-serve" in form:
        read_rules = forms.read(form, _variants(definition), form.get("default", ""))
        draft = forms.press(read_rules, form.get("_do", ""))
    elif layer != layers.EVERYWHERE and form.get("own") == "rules":
        # rules of its own begin as those that held there until now
        draft = _draft(definition, layers.EVERYWHERE)
    fault: str | None = None
    try:
        targeting = None if draft is None else write(draft)
    except ValueError as error:
        fault = str(error)
        targeting = members.get("targeting")
    if layer == layers.EVERYWHERE:
        if "key" in form:
            definition["key"] = form["key"].strip()
        definition["state"] = "ENABLED" if form.get("enabled") else "DISABLED"
        definition["defaultVariant"] = form.get("default") or None
        if draft is not None:
            definition["targeting"] = targeting
    else:
        layers.fill(members, form, targeting)
    if fault is not None and draft is not None:
        raise _TypedError(draft, fault)
    return draft


def _draft(definition: Document, layer: str) -> Draft | None:
    return read((layers.part(definition, layer) or {}).get("targeting"))


def _variants(definition: Mapping[str, Any]) -> list[str]:
    found: Any = definition.get("variants")
    return list(cast("Mapping[str, Any]", found)) if isinstance(found, dict) else []
