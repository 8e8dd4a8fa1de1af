"""The editor of flags: rules and their JSON are one thing in two forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.flags.contracts import Flag
from valhalla.features.operations.flags.rules import check
from valhalla.server.console.flag_editor import forms, in_words
from valhalla.server.console.flag_editor.contracts import OPERATORS, Condition, Draft, Rule, Serve
from valhalla.server.console.flag_editor.reading import read
from valhalla.server.console.flag_editor.state import state_of
from valhalla.server.console.flag_editor.values import typed, typed_all, written, written_all
from valhalla.server.console.flag_editor.writing import write

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), texts
)
names = st.sampled_from(["email", "plan", "account.id", "targetingKey"])
variables = names.map(lambda name: {"var": name})
leaves = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", ">", "<=", "starts_with"]), variables, scalars).map(
        lambda one: {one[0]: [one[1], one[2]]}
    ),
    st.tuples(variables, st.lists(scalars, min_size=1, max_size=3)).map(lambda one: {"in": list(one)}),
    st.tuples(scalars, variables).map(lambda one: {"in": list(one)}),
    variables.map(lambda one: {"!": [one]}),
    st.tuples(variables, variables).map(lambda one: {"==": list(one)}),
    st.just({"sem_ver": [{"var": "v"}, "^", "1.10"]}),
    st.just({"or": [True, {"$ref": "staff"}]}),
)
results = st.one_of(
    st.none(),
    st.sampled_from(["on", "off"]),
    st.integers(0, 100).map(lambda n: {"fractional": [{"var": "email"}, ["on", n], ["off", 100 - n]]}),
)
targetings = st.lists(st.tuples(leaves, results), min_size=1, max_size=4).map(
    lambda rules: {"if": [part for rule in rules for part in rule]}
)


@given(scalars)
def test_a_value_is_read_back_as_it_was(value: Any) -> None:
    again = typed(written(value))
    assert (again, type(again)) == (value, type(value))


@given(st.lists(scalars, min_size=1, max_size=5))
def test_values_are_read_back_as_they_were(values: list[Any]) -> None:
    assert typed_all(written_all(values)) == values


@given(targetings)
def test_nothing_is_lost_between_json_and_rules(targeting: dict[str, Any]) -> None:
    draft = read(targeting)
    assert draft is not None
    again = write(draft)
    assert read(again) == draft
    # what everybody else gets may be said or not; all before it is the very same
    assert again is not None
    assert again["if"] == targeting["if"]
    assert in_words(targeting)


@pytest.mark.parametrize(
    ("targeting", "draft"),
    [
        (None, Draft()),
        ({}, Draft()),
        ({"if": [True, "on", "off"]}, Draft((), Serve("on"))),
        ({"fractional": [["on"], ["off", 3]]}, Draft((), Serve(shares=(("on", 1), ("off", 3))))),
        (
            {"if": [{"$ref": "staff"}, "on", {"if": [{"!!": {"var": "a"}}, "off", "on"]}]},
            Draft(
                (
                    Rule((Condition("", "$ref", "staff"),), Serve("on")),
                    Rule((Condition("a", "set", ""),), Serve("off")),
                ),
                Serve("on"),
            ),
        ),
        ({"var": "variant"}, None),
        ({"if": [{"var": "a"}]}, None),
        ({"if": [{"var": "a"}, {"var": "b"}]}, None),
        ({"fractional": [["on", 1], ["on", 2]]}, None),
        ({"fractional": [{"cat": ["x", {"var": "email"}]}, ["on", 1]]}, None),
    ],
    ids=range(10),
)
def test_what_is_a_list_of_rules(targeting: Any, draft: Draft | None) -> None:
    assert read(targeting) == draft


def test_every_operator_is_one_that_flags_know() -> None:
    for operator in OPERATORS:
        value = {"json": '{"==": [1, 1]}', "$ref": "staff"}.get(operator, "1.2.3")
        rule = Rule((Condition("" if operator in ("json", "$ref") else "a", operator, value),), Serve("on"))
        check(Flag("f", {"on": True}, targeting=write(Draft((rule,)))))


def typed_form(draft: Draft, variants: list[str], default: str) -> dict[str, str]:
    """What a browser sends of the form that shows a draft."""
    form: dict[str, str] = {"default": default, "enabled": "1", "_tab": "rules"}
    for place, serve in [*((f"r{n}", rule.serve) for n, rule in enumerate(draft.rules)), ("else", draft.otherwise)]:
        form[f"{place}-serve"] = forms.chosen(serve)
        if serve.shares:
            form |= {f"{place}-of": str(forms.total(serve)), f"{place}-by": serve.by}
            for m, share in enumerate(forms.sliders(serve, variants, default)):
                form[f"{place}-n{m}"] = share.variant
                form[f"{place}-rest" if share.rest else f"{place}-w{m}"] = (
                    share.variant if share.rest else str(share.weight)
                )
    for n, rule in enumerate(draft.rules):
        for m, one in enumerate(rule.conditions):
            form |= {f"r{n}-c{m}-a": one.attribute, f"r{n}-c{m}-o": one.operator, f"r{n}-c{m}-v": one.value}
    return form


@given(targetings)
def test_a_form_that_nobody_touched_changes_nothing(targeting: dict[str, Any]) -> None:
    draft = read(targeting)
    assert draft is not None
    assert forms.read(typed_form(draft, ["on", "off"], "off"), ["on", "off"], "off") == draft


def test_buttons_change_the_list() -> None:
    first, second = (Rule((Condition("a", "==", value),), Serve("on")) for value in "xy")
    draft = Draft((first, second))
    assert forms.press(draft, "up:1").rules == (second, first)
    assert forms.press(draft, "down:0").rules == (second, first)
    assert forms.press(draft, "up:0") == draft
    assert forms.press(draft, "remove:0").rules == (second,)
    assert len(forms.press(draft, "add").rules) == 3
    assert len(forms.press(draft, "and:1").rules[1].conditions) == 2
    assert forms.press(draft, "drop:0:0").rules[0].conditions == ()
    for nonsense in ("remove:9", "remove:", "up:x", "drop:0:7", ":::", ""):
        assert forms.press(draft, nonsense) == draft


def test_shares_that_cannot_be_are_said() -> None:
    form = {"else-serve": "split", "else-n0": "on", "else-n1": "off", "else-rest": "off", "else-of": "100"}
    assert forms.read({**form, "else-w0": "30"}, ["on", "off"], "off").otherwise.shares == (("on", 30), ("off", 70))
    for weight, said in (("130", "more than 100"), ("-1", "whole number"), ("1e3", "whole number")):
        with pytest.raises(ValueError, match=said):
            forms.read({**form, "else-w0": weight}, ["on", "off"], "off")


def test_a_form_keeps_what_it_does_not_show() -> None:
    text = '{"variants": {"on": true, "off": false}, "owner": "web", "schedule": [{"at": "2030-01-01T00:00:00Z"}]}'
    form = {"_definition": text, "_tab": "rules", "default": "off", "enabled": "1", "else-serve": "v:on"}
    state = state_of(form)
    assert (state.fault, state.tab) == (None, "rules")
    assert state.definition["owner"] == "web"
    assert state.definition["schedule"]
    assert state.definition["targeting"] == {"if": [True, "on"]}
    assert state_of({**form, "_do": "tab:json"}).tab == "json"
    for broken in ("{", "[]", ""):
        assert state_of({"_definition": broken}).fault is not None
