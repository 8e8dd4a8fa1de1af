"""What a call takes of limits, as plain numbers for stores that count by themselves: whole microseconds and units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from valhalla.guard.contracts import CasResult, Policies, Take
from valhalla.guard.governor.errors import BadTake, UnknownLimit
from valhalla.guard.governor.limits import EVERY, Limit
from valhalla.guard.governor.rules import interval_of
from valhalla.guard.governor.shards import check_subject
from valhalla.kit.redact import storable

TICKS: Final = 1_000_000


class Charge(Struct, frozen=True):
    """``units`` of one bucket. ``most`` is what the bucket ever gives at once; ``interval`` is 0 for an exact limit."""

    resource: str
    name: str
    subject: str
    units: int
    kind: Literal["exact", "gcra"]
    most: int
    interval: int
    window: int
    shadow: bool


class Met(Struct):
    """What a bucket says to a charge. ``wait`` is in ticks, 0 admits, ``None`` never will; the rest is its state."""

    charge: Charge
    wait: float | None
    remaining: int = 0
    reset: float = 0.0


def charges_of(takes: tuple[Take, ...]) -> tuple[Charge, ...] | None:
    """Return the buckets that are charged, each once, in one order for all callers; ``None``: nobody set a limit.

    Raises:
        BadTake, UnknownLimit: what is asked cannot be counted.
    """
    if not takes:
        return ()
    found: dict[tuple[str, str, str], Charge] = {}
    for take in takes:
        check_subject(take.subject)
        if type(take.cost) is not int or take.cost < 1:
            raise BadTake("a cost is a whole number, 1 or more")
        if not take.limits and not take.free:
            return None
        limits = placed(take)
        known = [limit.name for _, limit in limits]
        if take.names is not None and not set(take.names).issubset(known):
            raise UnknownLimit("the resource has no limit of one of these names", known=known)
        for resource, limit in limits:
            if take.names is not None and limit.name not in take.names:
                continue
            charge = Charge(
                resource=resource,
                name=limit.name,
                subject="" if limit.scope == "all" else storable(take.subject),
                units=take.cost * limit.cost,
                kind=limit.kind,
                most=limit.most,
                interval=interval_of(limit) if limit.kind == "gcra" else 0,
                window=round(limit.window * TICKS),
                shadow=limit.shadow,
            )
            place = (charge.resource, charge.name, charge.subject)
            before = found.get(place)
            found[place] = charge if before is None else replace(charge, units=charge.units + before.units)
    return tuple(found[place] for place in sorted(found))


def placed(take: Take) -> list[tuple[str, Limit]]:
    """Return the limits that a take meets, each with the resource whose usage it counts."""
    return [*((take.resource, limit) for limit in take.limits), *((EVERY, limit) for limit in take.every)]


def refusal(met: Iterable[Met]) -> CasResult | None:
    """Return the refusal that takes longest, ``None`` if no limit refuses; what never fits comes first."""
    longest: Met | None = None
    for one in met:
        if one.wait == 0 or one.charge.shadow:
            continue
        if one.wait is None:
            longest = one
            break
        if longest is None or one.wait > (longest.wait or 0):
            longest = one
    if longest is None:
        return None
    after = None if longest.wait is None else longest.wait / TICKS
    return CasResult("limited", None, after, longest.charge.name, policies(met))


def policies(met: Iterable[Met]) -> Policies:
    """Return the state of every limit that can refuse."""
    return tuple((one.charge.name, max(0, one.remaining), one.reset / TICKS) for one in met if not one.charge.shadow)
