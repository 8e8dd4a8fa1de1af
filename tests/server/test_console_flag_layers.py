"""What a flag says in an environment or from an instant on is edited by the same form as the flag itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.flags.contracts import Flag
from valhalla.server.console.flag_editor import layers
from valhalla.server.console.flag_editor.state import State, state_of

FLAG: dict[str, Any] = {
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]},
    "environments": {"staging": {"defaultVariant": "on"}},
    "schedule": [{"at": "2031-01-01T00:00:00Z", "environment": "staging", "state": "DISABLED"}],
}


def after(button: str, layer: str = "", of: dict[str, Any] | None = None, **typed: str) -> State:
    form = {"_definition": json.dumps(of or FLAG), "_tab": "rules", "_layer": layer, "_do": button}
    if layer == "" and "else-serve" not in typed:
        form |= {"r0-c0-a": "plan", "r0-c0-o": "==", "r0-c0-v": "pro", "r0-serve": "v:on", "else-serve": ""}
        form |= {"enabled": "1", "default": "off"}
    return state_of(form | typed)


def test_the_layers_are_named_by_where_and_when() -> None:
    titles = [layer.title for layer in layers.layers(FLAG)]
    assert titles == ["everywhere", "in staging", "from 2031-01-01 00:00 in staging"]


def test_another_layer_is_looked_at_and_nothing_changes() -> None:
    found = after("layer:env:staging")
    assert (found.layer, found.own, found.fault) == ("env:staging", "", None)
    assert found.definition == FLAG | {"state": "ENABLED"}
    assert layers.place(found.layer, found.part) == "staging"
    assert after("layer:env:nowhere").layer == ""
    assert after("layer:step:7").layer == ""


def test_an_environment_is_added_filled_in_and_taken_away() -> None:
    added = after("add-environment", **{"new-environment": " prod "})
    assert (added.layer, added.part) == ("env:prod", {})
    filled = after("", "env:prod", added.definition, state="DISABLED", default="on", own="none")
    assert filled.part == {"state": "DISABLED", "defaultVariant": "on", "targeting": {}}
    back = after("", "env:prod", filled.definition, state="", default="", own="")
    assert back.part == {}
    gone = after("forget-layer", "env:prod", back.definition, own="")
    assert (gone.layer, list(gone.definition["environments"])) == ("", ["staging"])
    assert after("add-environment").fault == "an environment has a name"


def test_rules_of_its_own_begin_as_those_that_held_and_are_edited_as_such() -> None:
    chosen = after("", "env:staging", own="rules", default="on")
    assert chosen.part["targeting"] == FLAG["targeting"]
    rule = {"r0-c0-a": "plan", "r0-c0-o": "==", "r0-c0-v": "max", "r0-serve": "v:on", "else-serve": "v:off"}
    edited = after("", "env:staging", chosen.definition, own="rules", default="on", **rule)
    assert edited.part["targeting"] == {"if": [{"==": [{"var": "plan"}, "max"]}, "on", "off"]}
    assert edited.definition["targeting"] == FLAG["targeting"]
    wrong = after("", "env:staging", chosen.definition, own="rules", **(rule | {"r0-c0-a": ""}))
    assert wrong.fault is not None
    assert wrong.draft is not None
    assert wrong.draft.rules[0].conditions[0].attribute == ""


def test_a_step_has_an_instant_in_utc() -> None:
    step = "step:0"
    moved = after("", step, at="2031-02-03T04:05:06", own="", state="ENABLED", **{"at-environment": ""})
    assert moved.part == {"at": "2031-02-03T04:05:06Z", "state": "ENABLED"}
    assert layers.typed_at(moved.part) == "2031-02-03T04:05:06"
    assert after("", step, at="soon").fault is not None
    assert len(after("add-step").definition["schedule"]) == 2
    assert after("forget-layer", step, at="2031-02-03T04:05:06").definition["schedule"] == []


@given(
    st.dictionaries(st.sampled_from(["state", "default", "own", "at", "_do", "new-environment"]), st.text(max_size=30))
)
def test_whatever_is_typed_is_answered(typed: dict[str, str]) -> None:
    for layer in ("env:staging", "step:0", "step:x", "step:²"):
        found = after(typed.get("_do", ""), layer, **{name: value for name, value in typed.items() if name != "_do"})
        assert found.fault is not None or isinstance(found.definition, dict)


def test_what_is_made_so_is_a_definition() -> None:
    made = after("", "env:staging", own="none", state="ENABLED", default="on")
    assert msgspec.convert({"key": "k", **made.definition}, Flag).environments["staging"].targeting == {}
