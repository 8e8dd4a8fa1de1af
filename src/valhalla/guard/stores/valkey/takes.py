"""What a call takes of the limits, with the numbers that the scripts count with."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from valhalla.guard.contracts import Take
from valhalla.guard.governor.errors import BadTake, UnknownLimit
from valhalla.guard.governor.limits import Limit
from valhalla.guard.governor.rules import interval_of
from valhalla.guard.stores.charges import placed

Spec = tuple[str, str, bool, int, int, int, int, int, bool]
"""Bucket, name, exact, most, units, interval, window, capacity, shadow; times in microseconds."""

_LONGEST_SUBJECT: Final = 512


def takes_of(takes: tuple[Take, ...]) -> list[list[Spec]]:
    """Return the takes as limits.lua reads them.

    Raises:
        BadTake: the cost is not a whole number above zero, or the subject is unusable.
        UnknownLimit: a name is not one of the resource's limits.
    """
    specs = [[_spec(take, resource, limit) for resource, limit in _chosen(take)] for take in takes]
    # nothing to count is not the same as nobody knows the resource
    return [some for some, take in zip(specs, takes, strict=True) if some or not take.free]


def _chosen(take: Take) -> list[tuple[str, Limit]]:
    if type(take.cost) is not int or take.cost < 1:
        raise BadTake("a cost is a whole number, 1 or more")
    if type(take.subject) is not str or len(take.subject) > _LONGEST_SUBJECT:
        raise BadTake(f"a subject is a text of at most {_LONGEST_SUBJECT} characters")
    limits = placed(take)
    if take.names is None:
        return limits
    known = [limit.name for _, limit in limits]
    if not set(take.names).issubset(known):
        raise UnknownLimit("the resource has no limit of one of these names", known=known)
    return [(resource, limit) for resource, limit in limits if limit.name in take.names]


def _spec(take: Take, resource: str, limit: Limit) -> Spec:
    exact, most, interval, window = _numbers(limit)
    # kinds are counted apart: a list is no number
    bucket = f"{limit.kind[0]} {resource} {limit.name} {take.subject if limit.scope == 'subject' else ''}"
    return (bucket, limit.name, exact, most, take.cost * limit.cost, interval, window, limit.capacity, limit.shadow)


@lru_cache(1024)
def _numbers(limit: Limit) -> tuple[bool, int, int, int]:
    return limit.kind == "exact", limit.most, interval_of(limit), round(limit.window * 1_000_000)
