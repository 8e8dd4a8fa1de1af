"""Which approval chain an action falls under. Pure, on compiled chains."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from valhalla.features.security.actions.contracts import MOST_EXPIRES, Chain
from valhalla.features.security.actions.errors import BadChain
from valhalla.features.security.policies import Condition, context
from valhalla.features.security.policies.errors import BadCondition
from valhalla.kernel.principal import Principal

NAME: Final = r"[A-Za-z][A-Za-z0-9_.:-]{0,62}"
MOST_TEXT: Final = 4_000
MOST_COMMENTS: Final = 200
MOST_EVIDENCE: Final = 10
MOST_BYTES: Final = 256 * 1024


def check(chain: Chain) -> None:
    """Accept a chain whose condition can be asked and whose times make sense.

    Raises:
        BadChain: it is none.
    """
    if re.fullmatch(NAME, chain.name) is None:
        raise BadChain("a chain's name is 1 to 63 of A-Z, a-z, 0-9, '_', '.', ':' and '-', a letter first")
    try:
        Condition(chain.when, "action")
    except BadCondition as problem:
        raise BadChain(f"/when: {problem.detail}") from problem
    for member, seconds in (("expires_in", chain.expires_in), ("escalate_after", chain.escalate_after)):
        if not 60 <= seconds <= MOST_EXPIRES:
            raise BadChain(f"/{member}: from a minute to 30 days, in seconds")


class _Asked(NamedTuple):
    chain: Chain
    condition: Condition | None


class Book:
    """The enabled chains, compiled, in the order in which they are asked."""

    def __init__(self, chains: Iterable[Chain]) -> None:
        ordered = sorted((one for one in chains if one.enabled), key=lambda one: (-one.priority, one.name))
        self._asked = [_Asked(one, _compiled(one)) for one in ordered]
        self.by_name = {one.name: one for one in ordered}

    def find(self, facts: Mapping[str, Any]) -> Chain | None:
        """Return the first chain that holds. One whose condition fails, or cannot be read, holds: nothing slips by."""
        for one in self._asked:
            if one.condition is None:
                return one.chain
            try:
                if one.condition.execute(context(facts, [one.condition])) is not False:
                    return one.chain
            except Exception:  # noqa: BLE001 - a member that this payload lacks, say
                return one.chain
        return None


def _compiled(chain: Chain) -> Condition | None:
    try:
        return Condition(chain.when, "action")
    except BadCondition:
        # of a newer release
        return None


def facts(
    name: str, effect: str, scope: str, payload: Mapping[str, Any], requester: Principal, *, requested: bool, mode: str
) -> dict[str, Any]:
    """Return what conditions of chains know."""
    return {
        "action": {"type": name, "effect": effect, "scope": scope, "payload": dict(payload), "requested": requested},
        "requester": {
            "id": requester.id,
            "owner": requester.owner,
            "scopes": sorted(requester.scopes),
            "admin": requester.is_admin,
        },
        "mode": mode,
    }
