"""Rules as the fields of a form and back, and what its buttons do to them. Pure.

Rule ``n`` has the fields ``r{n}-…``, its condition ``m`` the fields ``r{n}-c{m}-…``; ``else`` are the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from valhalla.server.console.flag_editor.contracts import OPERATORS, Condition, Draft, Rule, Serve

ELSE: Final = "else"
MOST: Final = 40
SPLIT: Final = "split"
_VARIANT: Final = "v:"
_WHOLE: Final = 100
_EMPTY: Final = Condition("", "==", "")


class Share(NamedTuple):
    """One share as a slider; the one of ``rest`` gets what the others leave."""

    variant: str
    weight: int
    rest: bool


def chosen(serve: Serve) -> str:
    """Return the value of the field that says what is served."""
    return SPLIT if serve.shares else _VARIANT + serve.variant if serve.variant else ""


def sliders(serve: Serve, variants: Sequence[str], default: str) -> list[Share]:
    """Return the shares of a split with those that it does not name yet, and one that gets the rest."""
    given = dict(serve.shares)
    names = [*given, *(name for name in variants if name not in given)]
    rest = default if default in names else names[-1]
    return [Share(name, given.get(name, 0), name == rest) for name in names]


def total(serve: Serve) -> int:
    """Return how many parts a split has: while that stays, whoever has a growing share keeps it."""
    return sum(weight for _, weight in serve.shares) or _WHOLE


def read(form: Mapping[str, str], variants: Sequence[str], default: str) -> Draft:
    """Return what a form says.

    Raises:
        ValueError: the shares of a split cannot be.
    """
    rules: list[Rule] = []
    for n in range(MOST):
        if f"r{n}-serve" not in form:
            break
        conditions = [
            Condition(form.get(f"r{n}-c{m}-a", ""), form[f"r{n}-c{m}-o"], form.get(f"r{n}-c{m}-v", ""))
            for m in range(MOST)
            if form.get(f"r{n}-c{m}-o") in OPERATORS
        ]
        rules.append(Rule(tuple(conditions), _serve(form, f"r{n}", variants, default)))
    return Draft(tuple(rules), _serve(form, ELSE, variants, default))


def press(draft: Draft, button: str) -> Draft:
    """Return the rules after a button (``add``, ``remove:1``, ``up:1``, ``down:1``, ``and:1``, ``drop:1:0``)."""
    name, *places = button.split(":")
    rules = list(draft.rules)
    at, inner = (*(int(place) for place in places if place.isdecimal()), -1, -1)[:2]
    if name == "add" and len(rules) < MOST:
        rules.append(Rule((_EMPTY,), draft.otherwise if not draft.otherwise.shares else Serve()))
    elif not 0 <= at < len(rules):
        return draft
    elif name == "remove":
        del rules[at]
    elif name in ("up", "down"):
        to = min(max(at + (1 if name == "down" else -1), 0), len(rules) - 1)
        rules.insert(to, rules.pop(at))
    elif name == "and" and len(rules[at].conditions) < MOST:
        rules[at] = rules[at]._replace(conditions=(*rules[at].conditions, _EMPTY))
    elif name == "drop":
        kept = tuple(one for m, one in enumerate(rules[at].conditions) if m != inner)
        rules[at] = rules[at]._replace(conditions=kept)
    return draft._replace(rules=tuple(rules))


def _serve(form: Mapping[str, str], place: str, variants: Sequence[str], default: str) -> Serve:
    said = form.get(f"{place}-serve", "")
    if said != SPLIT:
        return Serve(said.removeprefix(_VARIANT))
    names = [form[f"{place}-n{m}"] for m in range(200) if f"{place}-n{m}" in form]
    if not names:
        # it has just been chosen: everybody gets the default until a slider is moved
        names = [*(name for name in variants if name != default), *(name for name in variants if name == default)]
        return Serve(shares=tuple((name, _WHOLE if n == len(names) - 1 else 0) for n, name in enumerate(names)))
    whole = _number(form.get(f"{place}-of", ""), "the number of parts") or _WHOLE
    rest = form.get(f"{place}-rest", names[-1])
    weights = {
        name: _number(form.get(f"{place}-w{m}", "0"), f"the share of '{name}'")
        for m, name in enumerate(names)
        if name != rest
    }
    left = whole - sum(weights.values())
    if left < 0:
        raise ValueError(f"the shares add up to more than {whole}")
    shares = tuple((name, left if name == rest else weights[name]) for name in names)
    return Serve(shares=shares, by=form.get(f"{place}-by", "").strip())


def _number(text: str, what: str) -> int:
    if not text.strip():
        return 0
    if not text.strip().isdecimal() or len(text) > 9:
        raise ValueError(f"{what} is a whole number")
    return int(text)
