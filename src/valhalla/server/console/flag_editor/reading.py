"""JsonLogic into rules. What has no form of its own stays JSON, so nothing is ever lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

from valhalla.kit.json import dumps_text
from valhalla.server.console.flag_editor.contracts import OPERATORS, VERSION, Condition, Draft, Rule, Serve
from valhalla.server.console.flag_editor.values import is_scalar, is_scalars, written, written_all

_PLAIN: Final = frozenset({"==", "!=", ">", ">=", "<", "<=", "starts_with", "ends_with"})
_CHOICES: Final = ("if", "?:")


class _UnfitError(Exception):
    """It is no list of rules."""


def read(targeting: Any) -> Draft | None:
    """Return the rules of a targeting; None for one that is no such list."""
    try:
        return _draft(targeting) if targeting else Draft()
    except _UnfitError:
        return None


def _draft(targeting: Any) -> Draft:
    operator, arguments = _operation(targeting)
    if operator not in _CHOICES:
        return Draft((), _serve(targeting))
    if len(arguments) < 2:
        raise _UnfitError
    rules: list[Rule] = []
    for n in range(0, len(arguments) - 1, 2):
        serve = _serve(arguments[n + 1])
        if arguments[n] is True:
            # it fits everybody: what follows is never reached
            return Draft(tuple(rules), serve)
        rules.append(Rule(tuple(_conditions(arguments[n])), serve))
    last = arguments[-1] if len(arguments) % 2 else None
    inner = _draft(last) if _operation(last)[0] in _CHOICES else Draft((), _serve(last))
    return Draft((*rules, *inner.rules), inner.otherwise)


def _operation(rule: Any) -> tuple[str, list[Any]]:
    if not isinstance(rule, dict) or len(cast("dict[str, Any]", rule)) != 1:
        return "", []
    [(operator, given)] = cast("dict[str, Any]", rule).items()
    return operator, cast("list[Any]", given) if isinstance(given, list) else [given]


def _attribute(rule: Any) -> str:
    operator, arguments = _operation(rule)
    name: Any = arguments[0] if operator == "var" and len(arguments) == 1 else ""
    return name if isinstance(name, str) and name == name.strip() else ""


def _conditions(rule: Any) -> Iterable[Condition]:
    operator, arguments = _operation(rule)
    if operator == "and" and len(arguments) > 1:
        for each in arguments:
            yield from _conditions(each)
        return
    found = _of_one(operator, arguments[0]) if len(arguments) == 1 else _of_several(operator, arguments)
    yield found or Condition("", "json", dumps_text(rule))


def _of_one(operator: str, first: Any) -> Condition | None:
    name = _attribute(first)
    if operator in ("!!", "!") and name:
        return Condition(name, "set" if operator == "!!" else "unset", "")
    if operator == "$ref" and isinstance(first, str) and first and first == first.strip():
        return Condition("", "$ref", first)
    inner, of = _operation(first)
    found = _of_several(inner, of) if operator == "!" and inner == "in" else None
    return found._replace(operator="not in") if found is not None and found.operator == "in" else None


def _of_several(operator: str, arguments: Sequence[Any]) -> Condition | None:
    match operator, [_attribute(each) for each in arguments], arguments:
        case "in", [str(name), ""], [_, values] if name and is_scalars(values) and values:
            return Condition(name, "in", written_all(values))
        case "in", ["", str(name)], [value, _] if name and is_scalar(value):
            return Condition(name, "contains", written(value))
        case "sem_ver", [str(name), "", ""], [_, str(how), str(than)] if name and VERSION + how in OPERATORS:
            return Condition(name, VERSION + how, than) if than == than.strip() else None
        case str(), [str(name), ""], [_, value] if name and operator in _PLAIN and is_scalar(value):
            return Condition(name, operator, written(value))
        case _:
            return None


def _serve(result: Any) -> Serve:
    if result is None:
        return Serve()
    if isinstance(result, str) and result:
        return Serve(result)
    operator, arguments = _operation(result)
    if operator != "fractional" or not arguments:
        raise _UnfitError
    by = ""
    if not isinstance(arguments[0], list):
        by, arguments = _attribute(arguments[0]), arguments[1:]
        if not by:
            raise _UnfitError
    shares = [_share(share) for share in arguments]
    if not shares or len(dict(shares)) < len(shares):
        raise _UnfitError
    return Serve(shares=tuple(shares), by=by)


def _share(share: Any) -> tuple[str, int]:
    match share:
        case [str(name)] if name:
            return name, 1
        case [str(name), int(weight)] if name and weight >= 0 and not isinstance(weight, bool):
            return name, weight
        case _:
            raise _UnfitError
