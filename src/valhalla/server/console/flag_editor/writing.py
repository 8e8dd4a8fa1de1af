"""Rules into JsonLogic. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from valhalla.kit.json import loads
from valhalla.server.console.flag_editor.contracts import VERSION, Condition, Draft, Serve
from valhalla.server.console.flag_editor.values import Scalar, typed, typed_all

_Write = Callable[[dict[str, Any], str], Any]


def write(draft: Draft) -> dict[str, Any] | None:
    """Return the targeting; None where the flag's default is all that is served.

    Raises:
        ValueError: a rule cannot be meant; the text says which and why.
    """
    arguments: list[Any] = []
    for n, rule in enumerate(draft.rules, 1):
        try:
            conditions = [_condition(one) for one in rule.conditions]
        except ValueError as error:
            raise ValueError(f"a condition of rule {n} {error}") from error
        if not conditions:
            raise ValueError(f"rule {n} has no condition: whom is it for?")
        arguments += [conditions[0] if len(conditions) == 1 else {"and": conditions}, _result(rule.serve)]
    last = _result(draft.otherwise)
    if arguments:
        return {"if": [*arguments, *([] if last is None else [last])]}
    # a targeting is an operation: a variant alone is none
    return {"if": [True, last]} if isinstance(last, str) else last


def _condition(one: Condition) -> Any:
    if one.operator == "json":
        return _json(one.value)
    if one.operator == "$ref":
        return {"$ref": one.value.strip()}
    if not one.attribute.strip():
        raise ValueError("names no member of the context")
    at: dict[str, Any] = {"var": one.attribute.strip()}
    if one.operator.startswith(VERSION):
        return {"sem_ver": [at, one.operator.removeprefix(VERSION), one.value.strip()]}
    special = _SPECIAL.get(one.operator)
    return {one.operator: [at, typed(one.value)]} if special is None else special(at, one.value)


def _json(text: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error


def _several(text: str) -> list[Scalar]:
    values = typed_all(text)
    if not values:
        raise ValueError("names no values")
    return values


def _result(serve: Serve) -> Any:
    if not serve.shares:
        return serve.variant or None
    by = [{"var": serve.by}] if serve.by else []
    return {"fractional": [*by, *([name, weight] for name, weight in serve.shares)]}


_SPECIAL: Final[Mapping[str, _Write]] = {
    "set": lambda at, _text: {"!!": [at]},
    "unset": lambda at, _text: {"!": [at]},
    "in": lambda at, text: {"in": [at, _several(text)]},
    "not in": lambda at, text: {"!": [{"in": [at, _several(text)]}]},
    "contains": lambda at, text: {"in": [typed(text), at]},
}
