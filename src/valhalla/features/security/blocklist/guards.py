"""What no write of the blocklist may do: lock out who writes, or nearly everybody. Pure but for the compiler."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from valhalla.features.security.blocklist import rules
from valhalla.features.security.blocklist.contracts import BlockRule, Facts
from valhalla.features.security.blocklist.errors import BadRule, LocksYouOut, TooBroad
from valhalla.features.security.blocklist.matching import Index
from valhalla.features.security.blocklist.recent import impact


def check_put(rule: BlockRule, facts: Facts | None, present: Index, now: float, *, confirm: bool = False) -> None:
    """Accept a rule that leaves in who writes it; that it is broad can be confirmed.

    Raises:
        TooBroad, LocksYouOut: it does not.
    """
    if rules.is_broad(rule) and not confirm:
        raise TooBroad(
            f"{rule.type} {rule.value} is nearly everybody", rule=rules.key_of(rule.action, rule.type, rule.value)
        )
    if rule.action == "block" and facts is not None and impact((facts,), [rule], present, now).blocked:
        raise LocksYouOut(
            f"{rule.type} {rule.value} holds for this request", rule=rules.key_of(rule.action, rule.type, rule.value)
        )


def check_delete(rule: BlockRule, facts: Facts | None, present: Index, now: float) -> None:
    """Accept that a rule goes; one that allows may be all that lets in who deletes it.

    Raises:
        LocksYouOut: it is.
    """
    if rule.action != "allow" or facts is None or present.blocked.find(facts, now) is None:
        return
    lets_in = present.allowed.find(facts, now)
    if lets_in is not None and lets_in.key == rules.key_of("block", rule.type, rule.value):
        raise LocksYouOut("this rule is what lets you in", rule=_name(rule))


def sift(
    wanted: Iterable[tuple[str, BlockRule]],
    facts: Facts | None,
    present: Index,
    now: float,
    check_condition: Callable[[str], object],
    *,
    confirm: bool = False,
) -> tuple[dict[str, BlockRule], list[tuple[str, str]]]:
    """Part the rules of an import into those that may be, and (value, why) of those that need a confirmation."""
    kept: dict[str, BlockRule] = {}
    refused: list[tuple[str, str]] = []
    for key, rule in wanted:
        if rule.type == "cel":
            check_condition(rule.value)
        if rule.action == "block" and not confirm and is_private(rule):
            refused.append((rule.value, "a private network: lists of others have these; repeat with 'confirm=true'"))
            continue
        try:
            check_put(rule, facts, present, now, confirm=confirm)
        except (TooBroad, LocksYouOut) as problem:
            refused.append((rule.value, f"{problem.detail}; {problem.advice}"))
            continue
        kept[key] = rule
    return kept, refused


def is_private(rule: BlockRule) -> bool:
    """Say whether a rule is about addresses that are not of the public internet, one's own networks among them."""
    if rule.type not in ("ip", "cidr"):
        return False
    network = ipaddress.ip_network(rule.value)
    # documentation networks count as private too, and block nobody
    return any(network.version == own.version and network.overlaps(own) for own in _OWN)  # type: ignore[arg-type]


_OWN = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7"),
    )
)


def _name(rule: BlockRule) -> str:
    return rules.key_of(rule.action, rule.type, rule.value)


def need_condition(compile: Callable[[str], object] | None, text: str) -> None:  # noqa: A002
    """Accept the text of a ``cel`` rule.

    Raises:
        BadRule: nothing here evaluates conditions.
        Invalid: it is no condition.
    """
    if compile is None:
        raise BadRule("this control plane does not evaluate conditions")
    compile(text)
