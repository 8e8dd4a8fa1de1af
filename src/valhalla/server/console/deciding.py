"""Which holds wait for one person: pure. What is told here is what ``/system/holds`` would answer to a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from valhalla.guard.errors import BadDeclaration
from valhalla.guard.quorum import parse
from valhalla.kernel.principal import Principal

_ROLE: Final = "role:"


class Waiting(NamedTuple):
    """Holds that the person may decide, and how many of the others are the person's own."""

    mine: Sequence[Mapping[str, Any]]
    own: int
    others: int


def tell_apart(principal: Principal, keys: Collection[str], holds: Sequence[Mapping[str, Any]]) -> Waiting:
    """Tell apart what waits for whom; ``keys`` are the ids of the person's keys, as far as they are known."""
    me = {principal.id, principal.owner, *keys}
    own = [hold for hold in holds if hold["requested_by"] in me]
    rest = [hold for hold in holds if hold["requested_by"] not in me]
    mine = [hold for hold in rest if may_decide(principal, hold)]
    return Waiting(mine, len(own), len(rest) - len(mine))


def may_decide(principal: Principal, hold: Mapping[str, Any]) -> bool:
    """Say whether somebody else's hold waits for this person, to approve it now or at least to deny it."""
    if hold["state"] != "held" or not principal.allows("holds:approve"):
        return False
    if any(one["by"] == principal.owner for one in hold["approvals"]):
        return False
    try:
        steps = parse(hold["quorum"] or "1")
    except BadDeclaration:
        # it is told when it is tried
        return True
    given = Counter(one["step"] for one in hold["approvals"] if one["decision"] == "approve")
    step = next((number for number, each in enumerate(steps) if given[number] < each.count), len(steps))
    roles = {scope.removeprefix(_ROLE) for scope in principal.scopes if scope.startswith(_ROLE)}
    # whoever a later step asks may deny already
    return any(each.role is None or each.role in roles for each in steps[step:])
