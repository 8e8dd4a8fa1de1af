"""What flags evaluate to: every operator, reason and failure, overlays, schedules, prerequisites, the kill switch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valhalla.features.operations.flags.contracts import Flag, Overlay, Prerequisite, Step
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.fractions import Generation
from valhalla.features.operations.flags.logic import BadRuleError, Surroundings, compile_rule

SWITCH = {"on": True, "off": False}
V3: Generation = "v3"


def result(rule: Any, data: Any = None) -> Any:
    return compile_rule(rule, Surroundings("f", V3, {}, lambda: 1_700_000_000.5))({} if data is None else data)


def one(**members: Any) -> FlagSet:
    flag = Flag(key="f", **{"variants": SWITCH, "defaultVariant": "off", **members})
    return FlagSet({"f": (flag, 1)}, shared={"staff": {"ends_with": [{"var": "email"}, "@valhalla.test"]}})


@pytest.mark.parametrize(
    ("rule", "data", "expected"),
    [
        ({"var": "a"}, {"a": 1}, 1),
        ({"var": ["a", 7]}, {}, 7),
        ({"var": "a.b.1"}, {"a": {"b": [1, 2]}}, 2),
        ({"var": ""}, {"a": 1}, {"a": 1}),
        ({"var": {"cat": ["a", "b"]}}, {"ab": 3}, 3),
        ({"var": "$flagd.flagKey"}, {}, "f"),
        ({"var": "$flagd.timestamp"}, {}, 1_700_000_000),
        ({"==": [1, "1"]}, {}, True),
        ({"==": [None, 0]}, {}, False),
        ({"==": [{"var": "a"}, "x"]}, {"a": ["x"]}, True),
        ({"===": [1, "1"]}, {}, False),
        ({"===": [1, True]}, {}, False),
        ({"!=": ["a", {"var": "a"}]}, {"a": "a"}, False),
        ({"!==": [1, 1.0]}, {}, False),
        ({"<": [1, {"var": "a"}, 10]}, {"a": "5"}, True),
        ({"<": ["10", "9"]}, {}, True),
        ({">=": [2, "two"]}, {}, False),
        ({"and": [1, 0, 2]}, {}, 0),
        ({"or": [0, "", "x"]}, {}, "x"),
        ({"!": [[]]}, {}, True),
        ({"!!": "0"}, {}, True),
        ({"if": [False, "a", True, "b", "c"]}, {}, "b"),
        ({"if": [False, "a"]}, {}, None),
        ({"?:": [1, "a", "b"]}, {}, "a"),
        ({"in": ["el", "hello"]}, {}, True),
        ({"in": [{"var": "a"}, ["x", "y"]]}, {"a": "y"}, True),
        ({"in": [1, [1.0, "1"]]}, {}, True),
        ({"in": [True, [1]]}, {}, False),
        ({"in": [{"var": "a"}, ["x"]]}, {"a": ["x"]}, False),
        ({"cat": ["a", 1.0, None, True]}, {}, "a1true"),
        ({"substr": ["jsonlogic", -5, 3]}, {}, "log"),
        ({"merge": [[1], 2]}, {}, [1, 2]),
        ({"missing": ["a", "b"]}, {"a": 1}, ["b"]),
        ({"missing_some": [1, ["a", "b"]]}, {"a": 1}, []),
        ({"+": ["1", 2]}, {}, 3),
        ({"-": [3]}, {}, -3),
        ({"*": [3, 2]}, {}, 6),
        ({"%": [-5, 3]}, {}, -2),
        ({"max": [1, 3, 2]}, {}, 3),
        ({"all": [{"var": "a"}, {">": [{"var": ""}, 1]}]}, {"a": [2, 3]}, True),
        ({"some": [{"var": "a"}, {">": [{"var": ""}, 2]}]}, {"a": [2, 3]}, True),
        ({"reduce": [[1, 2], {"+": [{"var": "current"}, {"var": "accumulator"}]}, 10]}, {}, 13),
        ({"starts_with": [{"var": "a"}, "ab"]}, {"a": "abc"}, True),
        ({"ends_with": [5, "ab"]}, {}, None),
        ({"sem_ver": ["v1.2", "^", "1.9.9"]}, {}, True),
        ({"sem_ver": ["1.0.0-rc.10", ">", "1.0.0-rc.9"]}, {}, True),
        ({"sem_ver": ["1.0.0", ">", "1.0.0-rc.9"]}, {}, True),
        ({"sem_ver": ["1.0.0+x", "=", "1.0.0+y"]}, {}, True),
        ({"sem_ver": ["1.2.0", "~", "1.3.0"]}, {}, False),
        ({"sem_ver": ["01.2.0", "=", "1.2.0"]}, {}, None),
        ({"sem_ver": [True, "=", "1.2.0"]}, {}, None),
    ],
    ids=range(51),
)
def test_operators(rule: Any, data: Any, expected: Any) -> None:
    found = result(rule, data)
    assert found == expected
    assert type(found) is type(expected) or not isinstance(expected, bool)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "a", "1", "1.0.0"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
_operators = st.sampled_from(
    ["==", "===", "<", ">=", "and", "or", "!", "if", "in", "cat", "substr", "merge", "missing", "missing_some",
     "+", "-", "*", "/", "%", "min", "sem_ver", "starts_with", "fractional", "var"]
)  # fmt: skip
_rules = st.recursive(_json, lambda inner: st.builds(lambda o, a: {o: a}, _operators, st.lists(inner, max_size=4)))


@given(rule=_rules, data=st.dictionaries(st.sampled_from(["a", "1", "targetingKey"]), _json))
def test_nothing_is_ever_raised(rule: Any, data: dict[str, Any]) -> None:
    among = FlagSet({"f": (Flag(key="f", variants=SWITCH, targeting={"if": [rule, rule, rule]}), 1)})
    assert among.evaluate("f", data).reason in {"DEFAULT", "TARGETING_MATCH", "ERROR"}


def test_reasons() -> None:
    static = one().evaluate("f")
    assert (static.reason, static.value, static.variant) == ("STATIC", False, "off")
    disabled = one(state="DISABLED", defaultVariant="on").evaluate("f")
    assert (disabled.reason, disabled.found, disabled.variant) == ("DISABLED", False, "")
    rule = {"if": [{"$ref": "staff"}, "on"]}
    assert one(targeting=rule).evaluate("f", {"email": "a@valhalla.test"}).reason == "TARGETING_MATCH"
    assert one(targeting=rule).evaluate("f", {}).reason == "DEFAULT"
    assert one(targeting=rule, defaultVariant=None).evaluate("f", {}).found is False
    assert one(targeting={"==": [1, 1]}, variants={"true": "yes", "false": "no"}).evaluate("f").value == "yes"


def test_unknown_and_broken_flags_are_never_on() -> None:
    assert one().evaluate("g").failure == "FLAG_NOT_FOUND"
    assert one(targeting={"$ref": "nobody"}).evaluate("f").failure == "PARSE_ERROR"
    assert one(targeting={"var": "v"}).evaluate("f", {"v": "third"}).failure == "GENERAL"
    assert not one(targeting={"var": "v"}).evaluate("f", {"v": "third"}).found
    circle = {"a": {"$ref": "b"}, "b": {"!": {"$ref": "a"}}}
    with pytest.raises(BadRuleError, match="a → b → a"):
        compile_rule({"$ref": "a"}, Surroundings("f", V3, circle, lambda: 0.0))


def test_numbers_are_all_floats_or_none() -> None:
    numbers = one(variants={"off": 1, "half": 0.5})
    assert type(numbers.evaluate("f").value) is float
    assert type(one(variants={"off": 1, "two": 2}).evaluate("f").value) is int


def test_environments_and_schedules() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    clock = [now.timestamp()]
    flag = Flag(
        key="f", variants=SWITCH, defaultVariant="off", environments={"staging": Overlay(defaultVariant="on")},
        schedule=(
            Step(at=datetime(2026, 3, 3, tzinfo=UTC), state="DISABLED"),
            Step(at=datetime(2026, 3, 2, tzinfo=UTC), environment="live", defaultVariant="on"),
        ),
    )  # fmt: skip
    live = FlagSet({"f": (flag, 1)}, environment="live", now=lambda: clock[0])
    staging = FlagSet({"f": (flag, 1)}, environment="staging", now=lambda: clock[0])
    assert [live.evaluate("f").variant, staging.evaluate("f").variant] == ["off", "on"]
    clock[0] += 86_400
    assert [live.evaluate("f").variant, staging.evaluate("f").variant] == ["on", "on"]
    clock[0] += 86_400
    assert [live.evaluate("f").reason, staging.evaluate("f").reason] == ["DISABLED", "DISABLED"]
    assert live.timed


def test_prerequisites_and_the_kill_switch() -> None:
    base = Flag(key="base", variants=SWITCH, targeting={"if": [{"var": "beta"}, "on", "off"]})
    top = Flag(key="top", variants=SWITCH, defaultVariant="on", prerequisites=(Prerequisite("base", ("on",)),))
    gone = Flag(key="gone", variants=SWITCH, defaultVariant="on", prerequisites=(Prerequisite("nothing", ("on",)),))
    among = FlagSet({flag.key: (flag, 1) for flag in (base, top, gone)})
    assert among.evaluate("top", {"beta": True}).value is True
    assert among.evaluate("top", {"beta": False}).reason == "DISABLED"
    assert among.evaluate("gone").reason == "DISABLED"
    assert among.counts["top"] == {"on": 1, "": 1}
    assert among.counts["base"] == {}
    for variant, value in ((None, None), ("off", False)):
        killed = one(killed=True, killVariant=variant, defaultVariant="on", targeting={"if": [True, "on"]}).evaluate(
            "f"
        )
        assert (killed.reason, killed.value, killed.found) == ("DISABLED", value, variant is not None)


def test_prerequisites_in_a_circle_end() -> None:
    flags = [
        Flag(key=key, variants=SWITCH, defaultVariant="on", prerequisites=(Prerequisite(other, ("on",)),))
        for key, other in (("a", "b"), ("b", "a"))
    ]
    assert not FlagSet({flag.key: (flag, 1) for flag in flags}).evaluate("a").found


def test_what_did_not_change_is_not_compiled_again() -> None:
    flags = {key: (Flag(key=key, variants=SWITCH, defaultVariant="on"), 1) for key in ("a", "b")}
    first = FlagSet(flags)
    first.evaluate("a"), first.evaluate("b")
    second = FlagSet({**flags, "b": (Flag(key="b", variants=SWITCH, defaultVariant="off"), 2)}, before=first)
    assert second.evaluate("b").variant == "off"
    assert second.counts == {"a": {"on": 1}, "b": {"on": 1, "off": 1}}
    assert second._ready["a"] is first._ready["a"]
