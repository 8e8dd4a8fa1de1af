"""Conditions of the blocklist's rules: the same language, over what such rules know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from valhalla.features.security.blocklist.contracts import Facts
from valhalla.features.security.policies.conditions import MEMBERS, Condition, context


def compile_rule(text: str) -> Callable[[Facts], bool]:
    """Return a condition over ``request`` and ``principal``; what is not known is the empty text, or 0.

    Raises:
        BadCondition: it is none.
    """
    condition = Condition(text, "rule")
    wanted = {
        name: MEMBERS["rule"][name] if members is None else members for name, members in condition.members.items()
    }

    def holds(facts: Facts) -> bool:
        known = _values(facts)
        values = {name: {member: known[name][member] for member in members} for name, members in wanted.items()}
        try:
            return condition.execute(context(values, (condition,))) is True
        except Exception:  # noqa: BLE001 - one that fails holds for nothing
            return False

    return holds


def _values(facts: Facts) -> dict[str, dict[str, Any]]:
    return {
        "request": {
            "method": facts.method,
            "path": facts.path,
            "address": facts.address or "",
            "user_agent": facts.user_agent or "",
            "country": facts.country or "",
            "asn": facts.asn or 0,
        },
        "principal": {"owner": facts.principal or "", "key": facts.api_key or ""},
    }
