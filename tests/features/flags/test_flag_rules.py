"""What no flag can mean is refused, and the problem points at the member."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from valhalla.features.operations.flags.contracts import Flag, Overlay, Prerequisite, Step
from valhalla.features.operations.flags.errors import BadFlag
from valhalla.features.operations.flags.rules import check, circle, references

SWITCH = {"on": True, "off": False}


def rule(targeting: Any) -> dict[str, Any]:
    return {"targeting": targeting}


def nested(depth: int) -> Any:
    made: Any = True
    for _ in range(depth):
        made = {"!": made}
    return {"if": [made, "on"]}


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"variants": {}}, "/variants"),
        ({"variants": {"on": True, "off": "no"}}, "/variants/off"),
        ({"variants": {"on": None}}, "/variants/on"),
        ({"variants": {"a/b~": None}}, "/variants/a~1b~0"),
        ({"defaultVariant": "maybe"}, "/defaultVariant"),
        ({"killVariant": "maybe"}, "/killVariant"),
        ({"environments": {"live": Overlay(defaultVariant="maybe")}}, "/environments/live/defaultVariant"),
        ({"environments": {"Live!": Overlay()}}, "/environments/Live!"),
        ({"environments": {"live": Overlay(targeting={"x": 1})}}, "/environments/live/targeting"),
        ({"schedule": (Step(at=datetime(2026, 1, 1)),)}, "/schedule/0/at"),
        ({"prerequisites": (Prerequisite("f", ("on",)),)}, "/prerequisites/0/flag"),
        ({"prerequisites": (Prerequisite("g", ()),)}, "/prerequisites/0/variants"),
        (rule({"if": [True, "on"], "or": []}), "/targeting"),
        (rule({"if": [{"matches": []}, "on"]}), "/targeting/if/0"),
        (rule({"if": [True, "on", False, "maybe", "off"]}), "/targeting/if/3"),
        (rule({"if": [True, "on", "maybe"]}), "/targeting/if/2"),
        (rule({"fractional": [["on", 0], ["off", 0]]}), "/targeting/fractional"),
        (rule({"fractional": [["on", 2**31], ["off", 1]]}), "/targeting/fractional"),
        (rule({"fractional": [["on", 0.5], ["off", 1]]}), "/targeting/fractional/0/1"),
        (rule({"fractional": [{"var": "a"}, ["maybe", 1]]}), "/targeting/fractional/1/0"),
        (rule({"fractional": [{"var": "a"}, "on"]}), "/targeting/fractional/1"),
        (rule({"fractional": []}), "/targeting/fractional"),
        (rule({"if": [{"sem_ver": ["1.0.0", "==", "1.0.0"]}, "on"]}), "/targeting/if/0/sem_ver/1"),
        (rule({"if": [{"sem_ver": ["1.0.0", "=", "new"]}, "on"]}), "/targeting/if/0/sem_ver/2"),
        (rule({"if": [{"starts_with": ["a"]}, "on"]}), "/targeting/if/0/starts_with"),
        (rule(nested(100)), "/targeting/if/0" + "/!" * 63),
    ],
    ids=range(26),
)
def test_what_is_refused(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadFlag) as refused:
        check(Flag(**{"key": "f", "variants": SWITCH, **members}))
    assert refused.value.extra["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "targeting",
    [
        {},
        {"if": [{"var": "x"}, "on", None]},
        {"if": [{"fractional": [[False, 0], [True, 100]]}, "on", "off"]},
        {"fractional": [{"var": "x"}, [{"if": [True, "on", "off"]}, {"var": "w"}], ["off", -1]]},
        {"if": [{"$ref": "staff"}, {"fractional": [["on"], ["off", 3]]}, "off"]},
        nested(50),
    ],
    ids=range(6),
)
def test_what_is_accepted(targeting: Any) -> None:
    check(Flag(key="f", variants=SWITCH, defaultVariant="on", targeting=targeting))


def test_circles_are_shown_as_the_way_round() -> None:
    assert circle("a", {"a": ["b", "c"], "b": ["c"], "c": ["d"], "d": ["a"]}) == ["a", "c", "d", "a"]
    assert circle("a", {"a": ["b", "c"], "b": ["d"], "c": ["d"]}) is None
    chain = {str(n): [str(n + 1)] for n in range(40)}
    assert circle("0", chain) is not None


def test_references() -> None:
    assert references({"if": [{"or": [{"$ref": "a"}, {"$ref": "b"}]}, "on"]}) == {"a", "b"}
