"""All rules of one action, and the one that holds for a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from valhalla.features.security.blocklist.cidr import Networks
from valhalla.features.security.blocklist.contracts import (
    FOREVER,
    Action,
    Condition,
    Facts,
    RuleType,
    Verdict,
)
from valhalla.features.security.blocklist.rules import key_at, key_of, network_number, number_of

_KNOWN_AGENTS: Final = 4096


class Matcher:
    """The rules of one action by their types. ``conditions`` compiles those of type ``cel``."""

    def __init__(self, action: Action) -> None:
        self._action: Action = action
        self.v4 = Networks(32, 16)
        self.v6 = Networks(128, 32)
        self.exact: dict[RuleType, dict[str, int]] = {"principal": {}, "api_key": {}, "country": {}, "asn": {}}
        self._paths: dict[str, int] = {}
        self._prefixes: dict[int, dict[str, int]] = {}
        self._agents: dict[str, tuple[tuple[str, ...], int]] = {}
        self._agent_of: dict[str, tuple[str, ...]] = {}
        self._conditions: dict[str, tuple[Condition, int]] = {}

    def __len__(self) -> int:
        some = (self._paths, self._agents, self._conditions, *self._prefixes.values(), *self.exact.values())
        return self.v4.count + self.v6.count + sum(map(len, some))

    def put(self, type: RuleType, value: str, until: int, compiled: Condition | None = None) -> None:  # noqa: A002
        """Add a rule in its one form, or set until when it holds."""
        match type:
            case "ip" | "cidr":
                family, number, length = network_number(value)
                (self.v4 if family == 4 else self.v6).put(number, length, until)
            case "path" if value.endswith("*"):
                self._prefixes.setdefault(len(value) - 1, {})[value[:-1]] = until
            case "path":
                self._paths[value] = until
            case "user_agent":
                self._agents[value] = (tuple(part for part in value.split("*") if part), until)
                self._agent_of.clear()
            case "cel":
                if compiled is not None:
                    self._conditions[value] = (compiled, until)
            case _:
                self.exact[type][value] = until

    def remove(self, type: RuleType, value: str) -> None:  # noqa: A002
        """Take a rule out, if it is there."""
        match type:
            case "ip" | "cidr":
                family, number, length = network_number(value)
                (self.v4 if family == 4 else self.v6).remove(number, length)
            case "path" if value.endswith("*"):
                table = self._prefixes.get(len(value) - 1, {})
                if table.pop(value[:-1], None) is not None and not table:
                    del self._prefixes[len(value) - 1]
            case "path":
                self._paths.pop(value, None)
            case "user_agent":
                self._agents.pop(value, None)
                self._agent_of.clear()
            case "cel":
                self._conditions.pop(value, None)
            case _:
                self.exact[type].pop(value, None)

    def find(self, facts: Facts, now: float) -> Verdict | None:
        """Return the first rule that holds: the address's, then who asks, where from, for what, with what."""
        if facts.address is not None and (key := self.address_key(facts.address, now)) is not None:
            return Verdict(key, "ip" if key.startswith("ip:") else "cidr")
        return (
            self._named("principal", facts.principal, now)
            or self._named("api_key", facts.api_key, now)
            or self._named("country", facts.country, now)
            or (None if facts.asn is None else self._named("asn", str(facts.asn), now))
            or self._path(facts.path, now)
            or (None if facts.user_agent is None or not self._agents else self._agent(facts.user_agent, now))
            or (self._condition(facts, now) if self._conditions else None)
        )

    def address_key(self, address: str, now: float) -> str | None:
        """Return the key (without its action) of the smallest network that holds an address now."""
        found = number_of(address)
        if found is None:
            return None
        family, number = found
        length = (self.v4 if family == 4 else self.v6).find(number, now)
        return None if length < 0 else key_at(family, number, length)

    def covers(self, type: RuleType, value: str, now: float) -> bool:  # noqa: A002
        """Say whether a rule here holds for everything that another one, in its one form, is about."""
        if type not in ("ip", "cidr"):
            return self.exact.get(type, {}).get(value, 0) > now
        family, number, length = network_number(value)
        return next((self.v4 if family == 4 else self.v6).covering(number, length, now), None) is not None

    def keys_within(self, value: str) -> list[str]:
        """Return the keys (without their action) of all rules about addresses inside a network."""
        family, number, length = network_number(value)
        found = (self.v4 if family == 4 else self.v6).within(number, length)
        return [key_at(family, first, size) for first, size, _ in found]

    def keys_around(self, value: str, now: float) -> list[str]:
        """Return the keys of all rules that hold for a whole network or address now, the smallest first."""
        family, number, length = network_number(value)
        found = (self.v4 if family == 4 else self.v6).covering(number, length, now)
        return [key_at(family, first, size) for first, size, _ in found]

    def _named(self, type: RuleType, value: str | None, now: float) -> Verdict | None:  # noqa: A002
        table = self.exact[type]
        if not table or value is None or table.get(value, 0) <= now:
            return None
        return self._verdict(type, value)

    def _path(self, path: str, now: float) -> Verdict | None:
        if self._paths.get(path, 0) > now:
            return self._verdict("path", path)
        for length, table in self._prefixes.items():
            if table.get(path[:length], 0) > now:
                return self._verdict("path", path[:length] + "*")
        return None

    def _agent(self, agent: str, now: float) -> Verdict | None:
        agent = agent[:500].lower()
        known = self._agent_of.get(agent)
        if known is None:
            if len(self._agent_of) >= _KNOWN_AGENTS:
                self._agent_of.clear()
            known = tuple(value for value, (parts, _) in self._agents.items() if holds_in_order(parts, agent))
            self._agent_of[agent] = known
        for value in known:
            if self._agents[value][1] > now:
                return self._verdict("user_agent", value)
        return None

    def _condition(self, facts: Facts, now: float) -> Verdict | None:
        for value, (holds, until) in self._conditions.items():
            if until > now and holds(facts):
                return self._verdict("cel", value)
        return None

    def _verdict(self, type: RuleType, value: str) -> Verdict:  # noqa: A002
        return Verdict(key_of("block", type, value), type)

    def pieces(self) -> Iterator[None]:
        """Give the memory of the networks back, piece by piece."""
        yield from self.v4.dismantle()
        yield from self.v6.dismantle()


def holds_in_order(parts: tuple[str, ...], text: str) -> bool:
    """Say whether a text has all parts, one after the other: what a pattern with stars means, in linear time."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


class Index:
    """Every rule of the list as the hot path asks it. Written by one task; a look-up never waits for it."""

    def __init__(self, compile: Callable[[str], Condition] | None = None) -> None:  # noqa: A002
        """``compile`` turns the text of ``cel`` rules into conditions; without it they hold for nothing."""
        self.compiler = compile
        self.blocked = Matcher("block")
        self.allowed = Matcher("allow")

    def put(self, action: Action, type: RuleType, value: str, until: int = FOREVER) -> None:  # noqa: A002
        """Add a rule in its one form, or set until when it holds.

        Raises:
            Invalid: the text of a ``cel`` rule is none.
        """
        compiled = self.compiler(value) if type == "cel" and self.compiler is not None else None
        self._of(action).put(type, value, until, compiled)

    def remove(self, action: Action, type: RuleType, value: str) -> None:  # noqa: A002
        """Take a rule out, if it is there."""
        self._of(action).remove(type, value)

    def _of(self, action: Action) -> Matcher:
        return self.blocked if action == "block" else self.allowed


def decide(index: Index, facts: Facts, now: float) -> Verdict | None:
    """Return the rule that refuses a request, None for one that may pass. ``now`` in seconds since the epoch.

    What is allowed is not blocked, by whatever rule: most requests are not blocked, so that is asked second.
    """
    found = index.blocked.find(facts, now)
    if found is None or (len(index.allowed) and index.allowed.find(facts, now) is not None):
        return None
    return found
