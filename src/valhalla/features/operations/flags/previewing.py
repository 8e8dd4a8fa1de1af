"""Who would be served what if a flag were another: both definitions evaluated for the same sample keys. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from valhalla.features.operations.flags.contracts import Flag, Resolution
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.features.operations.flags.rules import targetings

FAILED: Final = "(error)"
_EXAMPLES: Final = 5


class Moved(NamedTuple):
    """Sample keys that would get another variant: how many, and some of them."""

    before: str
    after: str
    keys: int
    examples: list[str]


class Outlook(NamedTuple):
    """What was found; ``before`` is empty for a flag that is new. The empty name is the caller's default."""

    before: Mapping[str, int]
    after: Mapping[str, int]
    moved: list[Moved]
    one_before: Resolution | None
    one_after: Resolution
    varied: list[str]
    """The members of the context that held the sample key."""


def compare(now: FlagSet, then: FlagSet, key: str, context: Mapping[str, Any], samples: int) -> Outlook:
    """Evaluate ``key`` in both sets for ``samples`` keys, and once for the context as it is. Nothing is counted."""
    old, new = now.find(key), then.find(key)
    assert new is not None, "the draft is in the set that would be"
    varied = sorted({"targetingKey", *_sticky(new[0]), *(() if old is None else _sticky(old[0]))})
    before, after = Counter[str](), Counter[str]()
    moves: dict[tuple[str, str], list[str]] = {}
    for n in range(samples):
        sample = f"sample-{n}"
        asked = _varied(context, varied, sample)
        becomes = _name(then.resolve(key, asked))
        after[becomes] += 1
        if old is None:
            continue
        was = _name(now.resolve(key, asked))
        before[was] += 1
        if was != becomes:
            moves.setdefault((was, becomes), []).append(sample)
    moved = [Moved(was, becomes, len(keys), keys[:_EXAMPLES]) for (was, becomes), keys in sorted(moves.items())]
    one = None if old is None else now.resolve(key, context)
    return Outlook(before, after, moved, one, then.resolve(key, context), varied)


def _name(found: Resolution) -> str:
    return FAILED if found.failure is not None else found.variant


def _varied(context: Mapping[str, Any], names: list[str], sample: str) -> dict[str, Any]:
    asked = dict(context)
    for name in names:
        *way, last = name.split(".")
        at: dict[str, Any] = asked
        for step in way:
            inner: Any = at.get(step)
            copied: dict[str, Any] = dict(cast("dict[str, Any]", inner)) if isinstance(inner, dict) else {}
            at[step] = copied
            at = copied
        at[last] = sample
    return asked


def _sticky(flag: Flag) -> Iterator[str]:
    """Yield the members of a context by which the splits of a flag choose."""
    for _, rule in targetings(flag):
        yield from _split_members(rule)


def _split_members(rule: Any) -> Iterator[str]:
    if isinstance(rule, list):
        for each in cast("list[Any]", rule):
            yield from _split_members(each)
    elif isinstance(rule, dict):
        members = cast("dict[str, Any]", rule)
        split: Any = members.get("fractional")
        if isinstance(split, list) and split and not isinstance(split[0], list):
            yield from _members(split[0])
        for each in members.values():
            yield from _split_members(each)


def _members(rule: Any) -> Iterator[str]:
    if isinstance(rule, list):
        for each in cast("list[Any]", rule):
            yield from _members(each)
    elif isinstance(rule, dict):
        members = cast("dict[str, Any]", rule)
        given: Any = members.get("var")
        if isinstance(given, list) and given:
            given = cast("list[Any]", given)[0]
        if isinstance(given, str) and given and not given.startswith("$flagd"):
            yield given
        for each in members.values():
            yield from _members(each)
