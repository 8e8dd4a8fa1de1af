"""A targeting as sentences, for who only reads it. Pure."""

from __future__ import annotations

from typing import Any, Final

from valhalla.server.console.flag_editor.contracts import OPERATORS, Condition, Serve
from valhalla.server.console.flag_editor.reading import read

_BARE: Final = frozenset({"$ref", "json"})


def in_words(targeting: Any) -> list[tuple[str, str]]:
    """Return who gets what, line by line; nothing for what is no list of rules."""
    draft = read(targeting)
    if draft is None:
        return []
    lines = [(" and ".join(map(_condition, rule.conditions)), _serve(rule.serve)) for rule in draft.rules]
    return [*lines, ("everybody else" if lines else "everybody", _serve(draft.otherwise))]


def _condition(one: Condition) -> str:
    said = OPERATORS.get(one.operator, one.operator)
    subject = "who" if one.operator in _BARE else one.attribute
    return " ".join(part for part in (subject, said, one.value) if part)


def _serve(serve: Serve) -> str:
    if not serve.shares:
        return serve.variant or "the default"
    total = sum(weight for _, weight in serve.shares) or 1
    parts = ", ".join(f"{100 * weight / total:.3g} % {name}" for name, weight in serve.shares)
    return f"{parts}, by {serve.by or 'targetingKey'}"
