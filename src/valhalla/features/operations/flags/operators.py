"""The operators of JsonLogic and of flagd: each makes a function of the context from those of its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final, TypeAlias, cast

from valhalla.features.operations.flags import loose, versions

Rule: TypeAlias = Callable[[Any], Any]
Make: TypeAlias = Callable[[list[Rule], list[Any]], Rule]


def constant(value: Any) -> Rule:
    """Return the rule that always gives ``value``."""
    return lambda _: value


def step(data: Any, name: str) -> Any:
    """Return a member, None where there is none."""
    return cast("dict[str, Any]", data).get(name) if isinstance(data, dict) else None


def walk(data: Any, name: Any, default: Any) -> Any:
    """Return what a path of members and indices leads to, ``default`` where it leads nowhere."""
    if name is None or name == "":
        return data
    for each in loose.text_of(name).split("."):
        if isinstance(data, dict):
            data = cast("dict[str, Any]", data).get(each)
        elif isinstance(data, (list, str)) and each.isdigit():
            items = cast("Sequence[Any]", data)
            data = items[int(each)] if len(each) < 10 and int(each) < len(items) else None
        else:
            return default
        if data is None:
            return default
    return data


def _scope_reduce(items: list[Any], each: Rule, start: Rule, data: Any) -> Any:
    return reduce(lambda total, item: each({"current": item, "accumulator": total}), items, start(data))


SCOPED: Final[dict[str, Callable[[list[Any], Rule, Rule, Any], Any]]] = {
    "map": lambda items, each, _start, _data: [each(item) for item in items],
    "filter": lambda items, each, _start, _data: [item for item in items if loose.truthy(each(item))],
    "all": lambda items, each, _start, _data: bool(items) and all(loose.truthy(each(item)) for item in items),
    "some": lambda items, each, _start, _data: any(loose.truthy(each(item)) for item in items),
    "none": lambda items, each, _start, _data: not any(loose.truthy(each(item)) for item in items),
    "reduce": _scope_reduce,
}


def _two(f: Callable[[Any, Any], Any]) -> Make:
    def make(rules: list[Rule], _: list[Any]) -> Rule:
        one, other = [*rules, constant(None), constant(None)][:2]
        return lambda data: f(one(data), other(data))

    return make


def _equality(f: Callable[[Any, Any], bool], *, same: bool) -> Make:
    general = _two(f if same else lambda one, other: not f(one, other))

    def make(rules: list[Rule], given: list[Any]) -> Rule:
        for n in (0, 1):
            # the usual case: a member of the context and a text
            if len(given) == 2 and type(given[n]) is str:
                text, rule = cast("str", given[n]), rules[1 - n]
                if same:
                    return lambda data: (v == text) if type(v := rule(data)) is str else f(v, text)
                return lambda data: (v != text) if type(v := rule(data)) is str else not f(v, text)
        return general(rules, given)

    return make


def _ordered(f: Callable[[Any, Any], bool]) -> Make:
    def make(rules: list[Rule], _: list[Any]) -> Rule:
        if len(rules) > 2:
            one, middle, other = rules[:3]
            return lambda data: f(one(data), m := middle(data)) and f(m, other(data))
        return _two(f)(rules, [])

    return make


def _if(rules: list[Rule], _: list[Any]) -> Rule:
    if not rules:
        return constant(None)
    otherwise = rules[-1] if len(rules) % 2 else constant(None)
    pairs = list(zip(rules[0 : len(rules) - 1 : 2], rules[1::2], strict=False))

    def two_way(condition: Rule, then: Rule, otherwise: Rule) -> Rule:
        def run(data: Any) -> Any:
            met = condition(data)
            if met is True or (met is not False and loose.truthy(met)):
                return then(data)
            return otherwise(data)

        return run

    for condition, then in reversed(pairs):
        otherwise = two_way(condition, then, otherwise)
    return otherwise


def _and(rules: list[Rule], _: list[Any]) -> Rule:
    def run(data: Any) -> Any:
        value: Any = None
        for rule in rules:
            value = rule(data)
            if not loose.truthy(value):
                return value
        return value

    return run


def _or(rules: list[Rule], _: list[Any]) -> Rule:
    def run(data: Any) -> Any:
        value: Any = None
        for rule in rules:
            value = rule(data)
            if loose.truthy(value):
                return value
        return value

    return run


def _in(rules: list[Rule], given: list[Any]) -> Rule:
    if len(given) == 2 and isinstance(given[1], list) and all(type(one) is str for one in cast("list[Any]", given[1])):
        texts, rule = frozenset(cast("list[str]", given[1])), rules[0]
        # nothing but a text is in a list of texts
        return lambda data: type(v := rule(data)) is str and v in texts
    return _two(_contains)(rules, given)


def _contains(one: Any, other: Any) -> bool:
    if isinstance(other, str):
        return isinstance(one, str) and one in other
    return isinstance(other, list) and any(loose.identical(one, each) for each in cast("list[Any]", other))


def _all(f: Callable[[list[Any]], Any]) -> Make:
    return lambda rules, _: lambda data: f([rule(data) for rule in rules])


def _affix(method: Callable[[str, str], bool]) -> Make:
    def make(rules: list[Rule], _: list[Any]) -> Rule:
        if len(rules) != 2:
            return constant(None)
        one, other = rules

        def run(data: Any) -> bool | None:
            text, affix = one(data), other(data)
            return method(text, affix) if isinstance(text, str) and isinstance(affix, str) else None

        return run

    return make


def _sem_ver(rules: list[Rule], _: list[Any]) -> Rule:
    if len(rules) != 3:
        return constant(None)
    one, operator, other = rules
    return lambda data: versions.compare(one(data), operator(data), other(data))


def _missing(rules: list[Rule], _: list[Any]) -> Rule:
    def run(data: Any) -> list[Any]:
        names = [rule(data) for rule in rules]
        if names and isinstance(names[0], list):
            names = cast("list[Any]", names[0])
        return _absent(data, names)

    return run


def _missing_some(rules: list[Rule], _: list[Any]) -> Rule:
    def run(data: Any) -> list[Any]:
        needed, names = ([rule(data) for rule in rules] + [0, []])[:2]
        listed = cast("list[Any]", names) if isinstance(names, list) else []
        absent = _absent(data, listed)
        return [] if len(listed) - len(absent) >= loose.number(needed) else absent

    return run


def _absent(data: Any, names: list[Any]) -> list[Any]:
    return [name for name in names if walk(data, name, None) in (None, "")]


def _minus(values: list[Any]) -> float:
    numbers = [loose.number(value) for value in values]
    return -numbers[0] if len(numbers) == 1 else numbers[0] - numbers[1] if numbers else math.nan


def _divide(one: Any, other: Any) -> float:
    try:
        return loose.number(one) / loose.number(other)
    except ZeroDivisionError:
        return math.nan


def _modulo(one: Any, other: Any) -> float:
    left, right = loose.number(one), loose.number(other)
    try:
        return (
            math.fmod(left, right) if isinstance(left, float) or isinstance(right, float) else _remainder(left, right)
        )
    except (ZeroDivisionError, ValueError):
        return math.nan


def _remainder(left: int, right: int) -> int:
    # the sign of the left one, as in JavaScript
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _substr(values: list[Any]) -> str:
    text, start, length = (*values, None, None, None)[:3]
    string, begin = loose.text_of(text), loose.number(start)
    at = 0 if math.isnan(begin) else int(max(-(10**9), min(10**9, begin)))
    rest = string[at:] if at >= 0 else string[max(0, len(string) + at) :]
    if length is None:
        return rest
    wanted = loose.number(length)
    return "" if math.isnan(wanted) else rest[: int(max(-(10**9), min(10**9, wanted)))]


def _merge(values: list[Any]) -> list[Any]:
    return [one for value in values for one in (cast("list[Any]", value) if isinstance(value, list) else [value])]


def _product(values: list[Any]) -> float:
    total: float = 1
    for value in values:
        total *= loose.number(value)
        # integers of any size would take any time
        if isinstance(total, int) and abs(total) > 2**1023:
            return math.nan
    return total


OPERATORS: Final[dict[str, Make]] = {
    "==": _equality(loose.equal, same=True),
    "!=": _equality(loose.equal, same=False),
    "===": _equality(loose.identical, same=True),
    "!==": _equality(loose.identical, same=False),
    "<": _ordered(loose.less),
    "<=": _ordered(loose.at_most),
    ">": _ordered(lambda one, other: loose.less(other, one)),
    ">=": _ordered(lambda one, other: loose.at_most(other, one)),
    "and": _and,
    "or": _or,
    "!": _all(lambda values: not loose.truthy(values[0] if values else None)),
    "!!": _all(lambda values: loose.truthy(values[0] if values else None)),
    "if": _if,
    "?:": _if,
    "in": _in,
    "cat": _all(lambda values: "".join(map(loose.text_of, values))),
    "substr": _all(_substr),
    "merge": _all(_merge),
    "missing": _missing,
    "missing_some": _missing_some,
    "+": _all(lambda values: sum(map(loose.number, values))),
    "-": _all(_minus),
    "*": _all(_product),
    "/": _two(_divide),
    "%": _two(_modulo),
    "min": _all(lambda values: min(map(loose.number, values), default=None)),
    "max": _all(lambda values: max(map(loose.number, values), default=None)),
    "starts_with": _affix(str.startswith),
    "ends_with": _affix(str.endswith),
    "sem_ver": _sem_ver,
}
