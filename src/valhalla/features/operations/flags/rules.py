"""Which flags can be meant: every mistake is told with the place of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from valhalla.features.operations.flags import versions
from valhalla.features.operations.flags.contracts import Flag, SharedRule
from valhalla.features.operations.flags.errors import BadFlag
from valhalla.features.operations.flags.fractions import MAX_TOTAL, weight_of
from valhalla.features.operations.flags.logic import KNOWN, MAX_DEPTH

KEY: Final = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
ENVIRONMENT: Final = r"[a-z][a-z0-9-]{0,31}"
MAX_VARIANTS: Final = 200
CHAIN: Final = 20

_AFFIXES: Final = ("starts_with", "ends_with")
Path = tuple[str | int, ...]


def check(flag: Flag) -> None:
    """Accept a definition, as far as it can be judged by itself.

    Raises:
        BadFlag: it cannot be meant so.
    """
    _check_variants(flag.variants)
    for path, name in _variants_named(flag):
        if name is not None and name not in flag.variants:
            raise _bad(path, f"there is no variant {name[:64]!a}; there are {_listed(flag.variants)}")
    for path, rule in targetings(flag):
        check_rule(rule, path, frozenset(flag.variants))
    for name in flag.environments:
        if re.fullmatch(ENVIRONMENT, name) is None:
            raise _bad(("environments", name), f"the name of an environment has the form {ENVIRONMENT}")
    for n, step in enumerate(flag.schedule):
        if step.at.tzinfo is None:
            raise _bad(("schedule", n, "at"), "an instant has an offset: 2026-03-01T12:00:00Z")
    for n, needed in enumerate(flag.prerequisites):
        if needed.flag == flag.key:
            raise _bad(("prerequisites", n, "flag"), f"a flag is no prerequisite of itself: {flag.key} → {flag.key}")
        if not needed.variants:
            raise _bad(("prerequisites", n, "variants"), "name the variants that will do")


def check_shared(shared: SharedRule) -> None:
    """Accept a shared rule.

    Raises:
        BadFlag: it does not parse.
    """
    check_rule(shared.rule, ("rule",), None)


def targetings(flag: Flag) -> Iterable[tuple[Path, Any]]:
    """Return every rule of a flag and where it is."""
    if flag.targeting:
        yield ("targeting",), flag.targeting
    for name, overlay in flag.environments.items():
        if overlay.targeting:
            yield ("environments", name, "targeting"), overlay.targeting
    for n, step in enumerate(flag.schedule):
        if step.targeting:
            yield ("schedule", n, "targeting"), step.targeting


def references(rule: Any) -> frozenset[str]:
    """Return the names of the shared rules that a rule refers to."""
    if isinstance(rule, list):
        return frozenset[str]().union(*map(references, cast("list[Any]", rule)))
    if not isinstance(rule, dict):
        return frozenset()
    members = cast("dict[str, Any]", rule)
    own = members.get("$ref")
    named = frozenset({own} if isinstance(own, str) else ())
    return named.union(*map(references, members.values()))


def check_rule(rule: Any, path: Path, variants: frozenset[str] | None) -> None:
    """Accept a rule; what it ends in must be one of ``variants`` if they are given.

    Raises:
        BadFlag: an operator is unknown or has the wrong arguments, a split adds up to nothing, a variant is unknown.
    """
    if isinstance(rule, (dict, list)):
        _check_operations(rule, path)
    if variants is not None:
        for at, result in _results(rule, path):
            if isinstance(result, (list, dict)):
                continue
            name = str(result).lower() if isinstance(result, bool) else str(result)
            if result is not None and name not in variants:
                raise _bad(at, f"there is no variant {name[:64]!a}; there are {_listed(variants)}")


def circle(start: str, needs: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return the way from ``start`` back to itself, or one that is longer than any may be; None if there is none."""
    waiting: list[list[str]] = [[start]]
    seen: set[str] = set()
    while waiting:
        way = waiting.pop()
        for key in needs.get(way[-1], ()):
            if key == start or len(way) >= CHAIN:
                return [*way, key]
            if key not in seen:
                seen.add(key)
                waiting.append([*way, key])
    return None


def _check_variants(variants: Mapping[str, Any]) -> None:
    if not variants:
        raise _bad(("variants",), "a flag has at least one variant")
    if len(variants) > MAX_VARIANTS:
        raise _bad(("variants",), f"a flag has up to {MAX_VARIANTS} variants")
    kinds: dict[str, str] = {}
    for name, value in variants.items():
        kind = _kind(value)
        if not name or len(name) > 128 or not name.isprintable():
            raise _bad(("variants", name), "the name of a variant is printable text of 1 to 128 characters")
        if kind is None:
            raise _bad(("variants", name), "a variant is a boolean, a text, a number, or an object")
        kinds.setdefault(kind, name)
        if len(kinds) > 1:
            first, *_ = kinds
            raise _bad(("variants", name), f"all variants have one type: '{kinds[first]}' is a {first}, this a {kind}")


def _kind(value: Any) -> str | None:
    match value:
        case bool():
            return "boolean"
        case str():
            return "text"
        case int() | float():
            return "number"
        case dict() | list():
            return "object"
        case _:
            return None


def _variants_named(flag: Flag) -> Iterable[tuple[Path, str | None]]:
    yield ("defaultVariant",), flag.defaultVariant
    yield ("killVariant",), flag.killVariant
    for name, overlay in flag.environments.items():
        yield ("environments", name, "defaultVariant"), overlay.defaultVariant
    for n, step in enumerate(flag.schedule):
        yield ("schedule", n, "defaultVariant"), step.defaultVariant


def _check_operations(rule: Any, path: Path, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise _bad(path, f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(rule, list):
        for n, each in enumerate(cast("list[Any]", rule)):
            _check_operations(each, (*path, n), depth + 1)
    elif isinstance(rule, dict) and rule:
        members = cast("dict[str, Any]", rule)
        if len(members) != 1:
            raise _bad(path, "an operation is an object with one member: {operator: [arguments]}")
        [(operator, given)] = members.items()
        if operator not in KNOWN:
            raise _bad(path, f"the operator {operator[:40]!a} is unknown")
        arguments: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
        _check_arguments(operator, arguments, (*path, operator))
        _check_operations(given, (*path, operator), depth + 1)


def _check_arguments(operator: str, arguments: list[Any], path: Path) -> None:
    if operator in _AFFIXES and len(arguments) != 2:
        raise _bad(path, f"'{operator}' takes two texts")
    if operator == "sem_ver":
        if len(arguments) != 3:
            raise _bad(path, "'sem_ver' takes a version, an operator and a version")
        if isinstance(arguments[1], str) and arguments[1] not in versions.OPERATORS:
            raise _bad((*path, 1), f"the operator is one of {' '.join(versions.OPERATORS)}")
        for n in (0, 2):
            if not isinstance(arguments[n], (dict, list)) and versions.parse(arguments[n]) is None:
                raise _bad((*path, n), "this is no version: write 1.2.3")
    if operator == "$ref" and not isinstance(arguments[0], str):
        raise _bad(path, "'$ref' takes the name of a shared rule")
    if operator == "fractional":
        _check_split(arguments, path)


def _check_split(arguments: list[Any], path: Path) -> None:
    first = 0 if arguments and isinstance(arguments[0], list) else 1
    if len(arguments) <= first:
        raise _bad(path, "a split has at least one share: [variant, weight]")
    total, fixed = 0, True
    for n, share in enumerate(arguments[first:], first):
        parts = cast("list[Any]", share) if isinstance(share, list) else []
        if not 1 <= len(parts) <= 2:
            raise _bad((*path, n), "a share is [variant, weight]")
        weight: Any = parts[1] if len(parts) == 2 else 1
        if isinstance(weight, dict):
            fixed = False
        elif weight_of(weight) is None:
            raise _bad((*path, n, 1), "a weight is a whole number")
        else:
            total += weight_of(weight) or 0
    if fixed and total == 0:
        raise _bad(path, "the weights add up to nothing: nobody would get a variant")
    if total > MAX_TOTAL:
        raise _bad(path, f"the weights add up to more than {MAX_TOTAL}")


def _results(rule: Any, path: Path) -> Iterable[tuple[Path, Any]]:
    """Return what a rule can end in, as far as that is plain to see."""
    if not isinstance(rule, dict):
        yield path, rule
        return
    for operator, given in cast("dict[str, Any]", rule).items():
        arguments: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
        at = (*path, operator)
        if operator in ("if", "?:"):
            for n, one in enumerate(arguments):
                # the conditions are at the even places, but for a last one that stands alone
                if n % 2 or (n == len(arguments) - 1 and n % 2 == 0):
                    yield from _results(one, (*at, n))
        elif operator == "fractional":
            first = 0 if arguments and isinstance(arguments[0], list) else 1
            for n, share in enumerate(arguments[first:], first):
                yield from _results(share[0], (*at, n, 0))


def _listed(names: Iterable[str]) -> str:
    some = sorted(names)[:8]
    return ", ".join(f"'{name}'" for name in some if name.isprintable())


def _bad(path: Path, detail: str) -> BadFlag:
    pointer = "".join(f"/{_escaped(part)}" for part in path)
    return BadFlag(f"{pointer}: {detail}", errors=[{"in": "body", "pointer": pointer, "detail": detail}])


def _escaped(part: str | int) -> str:
    text = str(part)[:128].replace("~", "~0").replace("/", "~1")
    return text if text.isprintable() else "…"
