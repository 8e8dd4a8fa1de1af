"""Percentage splits: which share a key falls into. Two generations of flagd's hashing, each pinned for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from valhalla.features.operations.flags.cbor import canonical
from valhalla.features.operations.flags.murmur import murmur3

Generation: TypeAlias = Literal["v2", "v3"]
MAX_TOTAL: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Share:
    """A variant and its weight, each fixed or a rule; a fixed ``weight`` of None is none at all."""

    variant: Any
    variant_rule: Callable[[Any], Any] | None
    weight: int | None
    weight_rule: Callable[[Any], Any] | None


def weight_of(value: Any) -> int | None:
    """Return a weight, never below zero, or None for what is no whole number."""
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else None


def splitter(
    generation: Generation, flag: str, by: Callable[[Any], Any] | None, shares: Sequence[Share | None]
) -> Callable[[Any], Any]:
    """Return the function from context to variant; None wherever the split cannot be decided.

    ``by`` is what a key sticks to; without it the flag's key and the context's ``targetingKey``.
    """
    keyed = _keyed(generation, flag, by)
    whole = [share for share in shares if share is not None]
    if len(whole) != len(shares):
        return lambda _: None
    fixed = [share.weight for share in whole if share.weight_rule is None]
    if None in fixed:
        return lambda _: None
    if len(fixed) == len(whole):
        return _fixed(keyed, whole, cast("list[int]", fixed))

    def split(data: Any) -> Any:
        weights = [share.weight if share.weight_rule is None else weight_of(share.weight_rule(data)) for share in whole]
        if None in weights:
            return None
        return _fixed(keyed, whole, cast("list[int]", weights))(data)

    return split


def _fixed(
    keyed: Callable[[Any], bytes | None], shares: Sequence[Share], weights: Sequence[int]
) -> Callable[[Any], Any]:
    total = sum(weights)
    if not 0 < total <= MAX_TOTAL:
        return lambda _: None
    ends: list[tuple[int, Share]] = []
    end = 0
    for share, weight in zip(shares, weights, strict=True):
        end += weight
        ends.append((end, share))

    def split(data: Any) -> Any:
        raw = keyed(data)
        if raw is None:
            return None
        bucket = murmur3(raw) * total >> 32
        for end, share in ends:
            if bucket < end:
                return share.variant if share.variant_rule is None else share.variant_rule(data)
        return None

    return split


def _keyed(generation: Generation, flag: str, by: Callable[[Any], Any] | None) -> Callable[[Any], bytes | None]:
    if by is None:
        if generation == "v2":
            prefix = flag.encode()
            return lambda data: None if (key := _targeting_key(data)) is None else prefix + _utf8(key)
        head = b"\x82" + canonical(flag)
        return lambda data: None if (key := _targeting_key(data)) is None else head + canonical(key)
    if generation == "v2":
        return lambda data: _utf8(key) if isinstance(key := by(data), str) and key else None

    def encoded(data: Any) -> bytes | None:
        key = by(data)
        if key is None:
            return None
        try:
            return canonical(key)
        except ValueError:
            return None

    return encoded


def _utf8(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _targeting_key(data: Any) -> str | None:
    key: Any = cast("dict[str, Any]", data).get("targetingKey") if isinstance(data, dict) else None
    return key if isinstance(key, str) and key else None
