"""The policies at the gate: asked before the application, told of every answer; no query, no wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from valhalla.features.operations.limits.rules import is_free
from valhalla.features.security.policies import rules
from valhalla.features.security.policies.acting import Reactor
from valhalla.features.security.policies.book import Book, Wanted
from valhalla.features.security.policies.contracts import Decision, Deed, Grant, Policy, Request, Verdict
from valhalla.features.security.policies.counting import Answered, Counters
from valhalla.features.security.policies.errors import PolicyBlocked, PolicyChallenge, PolicyHeld
from valhalla.features.security.policies.modes import Modes
from valhalla.features.security.policies.rules import Counts
from valhalla.kernel.clock import Clock
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.changes import View

_SHOWN = 200


class Tally:
    """What became of one policy in this process."""

    __slots__ = ("failed", "last", "matched", "shadowed")

    def __init__(self) -> None:
        self.matched = self.shadowed = self.failed = 0
        self.last: datetime | None = None


class Sources(NamedTuple):
    """Where the policies and grants of the moment are."""

    book: View[Book]
    grants: View[Mapping[tuple[str, str], Grant]]


class Policing:
    """The gate's policies."""

    def __init__(self, sources: Sources, modes: Modes, counters: Counters, reactor: Reactor, *, clock: Clock) -> None:
        self._sources = sources
        self._modes = modes
        self._reactor = reactor
        self._clock = clock
        self.counters = counters
        self.tallies: dict[str, Tally] = {}

    def judge(
        self,
        method: str,
        path: str,
        route: str,
        query: bytes,
        headers: Mapping[bytes, bytes],
        address: str | None,
        principal: Principal | None,
    ) -> Problem | None:
        """Return why a request is refused. Probes always pass: a policy must not make an orchestrator kill us."""
        if (found := self._decided(method, path, route, query, headers, address, principal)) is None:
            return None
        decision, verdicts = found
        for verdict in verdicts:
            self.count(verdict.policy, matched=verdict.matched)
        ending = decision.ending
        passes = ending is not None and ending.action == "hold" and self._is_granted(ending, principal)
        for deed in decision.deeds:
            if not (passes and deed.policy is ending):
                self._reactor.take(deed)
        return None if ending is None or passes else refusal(ending, principal)

    def refusal(
        self, method: str, path: str, route: str, address: str | None, principal: Principal | None
    ) -> Problem | None:
        """Return why such a request, without headers, would be refused; nothing is done or counted."""
        found = self._decided(method, path, route, b"", {}, address, principal)
        ending = None if found is None else found[0].ending
        if ending is None or (ending.action == "hold" and self._is_granted(ending, principal)):
            return None
        return refusal(ending, principal)

    def _decided(
        self,
        method: str,
        path: str,
        route: str,
        query: bytes,
        headers: Mapping[bytes, bytes],
        address: str | None,
        principal: Principal | None,
    ) -> tuple[Decision, list[Verdict]] | None:
        mode = self._modes.mode
        candidates = self._sources.book.value.on_request(path, mode)
        if not candidates.policies or is_free(path):
            return None
        counts = self.counters.of(address)

        def ask(wanted: Sequence[Wanted]) -> dict[str, Any]:
            request = Request(method, path, route, query, headers, address, principal)
            return rules.request_values(request, wanted, counts, mode)

        def doing(policy: Policy) -> Deed:
            return Deed(policy, address, principal, f"{method} {path[:_SHOWN]}")

        return rules.decide(candidates, method, ask, counts, doing)

    def answered(self, address: str | None, route: str, status: int, *, has_key: bool, is_known: bool) -> None:
        """Count what an answer says of who asked."""
        if status >= 400:
            self.counters.answered(Answered(address, route, status, has_key, is_known))

    def count(self, policy: Policy, *, matched: bool) -> None:
        """Note that a policy matched, or that its condition failed."""
        tally = self.tallies.get(policy.name)
        if tally is None:
            tally = self.tallies[policy.name] = Tally()
        if not matched:
            tally.failed += 1
            return
        tally.last = self._clock.now()
        if policy.shadow:
            tally.shadowed += 1
        else:
            tally.matched += 1

    def counts(self, address: str | None) -> Counts:
        """Return what is counted of an address, zeros included."""
        return self.counters.of(address) or rules.no_counts()

    def _is_granted(self, policy: Policy, principal: Principal | None) -> bool:
        if principal is None:
            return False
        grant = self._sources.grants.value.get((policy.name, principal.id))
        return grant is not None and self._clock.now() < grant.until


def refusal(policy: Policy, principal: Principal | None) -> Problem | None:
    """Return what the ending policy answers; which policy it was is for the operator to know.

    Who has no key cannot be held: nobody could say whom one lets pass.
    """
    make: Mapping[str, Callable[[], Problem]] = {
        "challenge": PolicyChallenge,
        "block": lambda: PolicyBlocked(retry_after=policy.duration),
        "hold": PolicyChallenge if principal is None else lambda: PolicyHeld(retry_after=30.0),
    }
    made = make.get(policy.action)
    return None if made is None else made()
