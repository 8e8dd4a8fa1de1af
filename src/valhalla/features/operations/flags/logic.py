"""JsonLogic compiled to closures: what a rule costs is what it computes, not what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from valhalla.features.operations.flags import fractions
from valhalla.features.operations.flags.operators import OPERATORS, SCOPED, Rule, constant, step, walk

MAX_DEPTH: Final = 64


class BadRuleError(ValueError):
    """A rule that cannot be compiled; ``path`` leads to the place."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule is compiled in: its flag, the pinned generation of buckets, shared rules and the clock."""

    flag: str
    buckets: fractions.Generation
    shared: Mapping[str, Any]
    now: Callable[[], float]


def compile_rule(rule: Any, around: Surroundings) -> Rule:
    """Return the function of the context that a rule is.

    Raises:
        BadRuleError: an operator or shared rule is unknown, or rules refer to each other in a circle.
    """
    return _Compiler(around).compile(rule, ())


class _Compiler:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._within: list[str] = []

    def compile(self, rule: Any, path: tuple[str | int, ...]) -> Rule:  # noqa: PLR0911 - one for each form
        if len(path) > 2 * MAX_DEPTH:
            raise BadRuleError("it is nested too deeply", path)
        if isinstance(rule, list):
            return self._list(cast("list[Any]", rule), path)
        if not isinstance(rule, dict) or not rule:
            return constant(rule)
        members = cast("dict[str, Any]", rule)
        if len(members) != 1:
            raise BadRuleError("an operation is an object with one member", path)
        [(operator, given)] = members.items()
        if operator == "$ref":
            return self._reference(given, path)
        arguments: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
        if operator == "var":
            return self._var(arguments, (*path, "var"))
        if operator == "fractional":
            return self._fractional(arguments, (*path, "fractional"))
        if operator in SCOPED:
            return self._scoped(operator, arguments, (*path, operator))
        make = OPERATORS.get(operator)
        if make is None:
            raise BadRuleError(f"the operator {operator[:40]!a} is unknown", path)
        at = (*path, operator)
        listed = isinstance(given, list)
        compiled = [self.compile(one, (*at, n) if listed else at) for n, one in enumerate(arguments)]
        return make(compiled, arguments)

    def _list(self, rule: list[Any], path: tuple[str | int, ...]) -> Rule:
        items = [self.compile(one, (*path, n)) for n, one in enumerate(rule)]
        return lambda data: [item(data) for item in items]

    def _reference(self, name: Any, path: tuple[str | int, ...]) -> Rule:
        if not isinstance(name, str) or name not in self.around.shared:
            raise BadRuleError(f"there is no shared rule {str(name)[:64]!a}", (*path, "$ref"))
        if name in self._within:
            raise BadRuleError(f"shared rules refer to each other: {' → '.join([*self._within, name])}", path)
        self._within.append(name)
        try:
            return self.compile(self.around.shared[name], path)
        finally:
            self._within.pop()

    def _var(self, arguments: list[Any], path: tuple[str | int, ...]) -> Rule:  # noqa: PLR0911 - one for each form
        name: Any = arguments[0] if arguments else ""
        default: Any = arguments[1] if len(arguments) > 1 else None
        if isinstance(name, (dict, list)):
            found, fallback = self.compile(name, path), self.compile(default, path)
            return lambda data: walk(data, found(data), fallback(data))
        if name == "$flagd.flagKey":
            return constant(self.around.flag)
        if name == "$flagd.timestamp":
            now = self.around.now
            return lambda _: int(now())
        if name == "$flagd":
            flag, now = self.around.flag, self.around.now
            return lambda _: {"flagKey": flag, "timestamp": int(now())}
        if isinstance(name, str) and name and "." not in name and not name.isdigit() and default is None:
            return lambda data: step(data, name)
        fallback = self.compile(default, path)
        if isinstance(name, str) and name.count(".") == 1 and default is None:
            outer, inner = name.split(".")
            if inner and outer and not inner.isdigit():
                return lambda data: step(step(data, outer), inner)
        return lambda data: walk(data, name, fallback(data))

    def _fractional(self, arguments: list[Any], path: tuple[str | int, ...]) -> Rule:
        by: Rule | None = None
        first = 0
        if arguments and not isinstance(arguments[0], list):
            by, first = self.compile(arguments[0], (*path, 0)), 1
        return fractions.splitter(
            self.around.buckets,
            self.around.flag,
            by,
            [self._share(one, (*path, n)) for n, one in enumerate(arguments[first:], first)],
        )

    def _share(self, share: Any, path: tuple[str | int, ...]) -> fractions.Share | None:
        """Return a share, None for what has not its form."""
        if not isinstance(share, list) or not 1 <= len(cast("list[Any]", share)) <= 2:
            return None
        parts = cast("list[Any]", share)
        weight: Any = parts[1] if len(parts) == 2 else 1
        variant, fixed = parts[0], not isinstance(weight, dict)
        return fractions.Share(
            None if isinstance(variant, (dict, list)) else variant,
            self.compile(variant, (*path, 0)) if isinstance(variant, (dict, list)) else None,
            fractions.weight_of(weight) if fixed else None,
            None if fixed else self.compile(weight, (*path, 1)),
        )

    def _scoped(self, operator: str, arguments: list[Any], path: tuple[str | int, ...]) -> Rule:
        if len(arguments) < 2:
            raise BadRuleError(f"'{operator}' takes a list and a rule", path)
        items, each = self.compile(arguments[0], (*path, 0)), self.compile(arguments[1], (*path, 1))
        start = self.compile(arguments[2] if len(arguments) > 2 else None, (*path, 2))

        def run(data: Any) -> Any:
            found = items(data)
            return SCOPED[operator](cast("list[Any]", found) if isinstance(found, list) else [], each, start, data)

        return run


KNOWN: Final = frozenset({*OPERATORS, *SCOPED, "var", "fractional", "$ref"})
