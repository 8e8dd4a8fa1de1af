"""The gate's limits: every rule that counts a request is charged, or none."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from valhalla.features.operations.limits import rules
from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request
from valhalla.gate.contracts import Asking, Quota, Taken
from valhalla.gate.quotas.counted import Charge, Counted, Way, counted_by, quotas_of, refusal
from valhalla.gate.quotas.fleet import Answer, Fleet
from valhalla.gate.quotas.merging import merged
from valhalla.gate.quotas.talkers import Talkers
from valhalla.guard.governor import Decision, Governor, Limit

NOTHING: Final = Taken(())
# where who may change limits gets in whatever the limits say: a rule that shuts everybody out can be taken back
_DOOR: Final = "/system/rate-limits"
_LOOK: Final = 4096
_SHARED: Final = 8192
_PLANNED: Final = 4096
# talkers of each rule that other processes hear of
_TOLD: Final = 50


class Quotas:
    """Counts in this process. Reads the rules from a snapshot; changing a rule keeps what is used of it."""

    def __init__(
        self,
        current: Callable[[], Sequence[LimitRule]],
        *,
        clock: Callable[[], float] = time.monotonic,
        most_subjects: int = 1_000_000,
        fleet: Fleet | None = None,
    ) -> None:
        """``current`` returns the rules of the newest snapshot (one object until they change).

        With more than ``most_subjects`` buckets (about 60 bytes each) subjects share buckets: memory stays bounded and
        limits become tighter, never wider.
        """
        self._current = current
        self._fleet = fleet
        self._governor = Governor(unknown="allow", clock=clock)
        self._clock = clock
        self._most = most_subjects
        self._rules: Sequence[LimitRule] | None = None
        self._counted: dict[str, Counted] = {}
        self._own: dict[str, Counted] = {}
        self._planned: dict[tuple[str, str, str], tuple[Way, ...]] = {}
        self._looks = 0
        self._crowded = False

    def take(self, asking: Asking) -> Taken | Awaitable[Taken]:
        """Charge one request to every limit that it counts for, or to none.

        Only a strict rule of the fleet makes anybody wait.
        """
        who = asking.principal
        self._follow()
        if (not self._counted and (who is None or not who.limits)) or _is_free(asking):
            return NOTHING
        charges = self._charges(asking)
        if self._fleet is None or all(charge.counted.rule.count == "process" for charge in charges):
            return self._take(charges)
        shared = [charge for charge in charges if charge.counted.rule.count == "fleet"]
        local = [charge for charge in charges if charge.counted.rule.count == "process"]
        if any(charge.counted.rule.strict for charge in shared):
            return self._take_strictly(self._fleet, shared, local)
        return self._settle(self._fleet, shared, [_ask(self._fleet, charge) for charge in shared], local)

    async def _take_strictly(self, fleet: Fleet, shared: list[Charge], local: list[Charge]) -> Taken:
        answers = [
            await fleet.take_exactly(*_args(charge)) if charge.counted.rule.strict else _ask(fleet, charge)
            for charge in shared
        ]
        return self._settle(fleet, shared, answers, local)

    def _settle(
        self, fleet: Fleet, shared: list[Charge], answers: Sequence[Answer | None], local: list[Charge]
    ) -> Taken:
        """Bring what Valkey said and what is counted here together: all pass, or everything is given back."""
        now = self._clock()
        told = [(charge, answer) for charge, answer in zip(shared, answers, strict=True) if answer is not None]
        # Valkey is away: each process counts by itself
        local = [*local, *(charge for charge, answer in zip(shared, answers, strict=True) if answer is None)]
        refused = [(charge, a) for charge, a in told if not a.allowed and not charge.counted.rule.shadow]
        taken = NOTHING if refused or not local else self._take(local)
        if refused or taken.refusal is not None:
            for charge, answer in told:
                if answer.allowed:
                    fleet.give_back(*_args(charge))
        quotas = [*taken.quotas]
        for charge, answer in told:
            rule, limit = charge.counted.rule, charge.counted.limit
            out = not answer.allowed and not rule.shadow
            if out or (not refused and taken.refusal is None):
                shadowed = rule.shadow and not answer.allowed
                charge.counted.talkers.note(charge.subject, charge.cost, now, refused=out, shadowed=shadowed)
            if not rule.shadow:
                quotas.append(Quota(rule.name, limit.capacity, limit.window, answer.remaining, answer.reset))
        if refused:
            charge, answer = max(refused, key=lambda pair: pair[1].wait)
            return Taken(quotas, refusal(charge.counted, charge.cost, answer.wait))
        return Taken(quotas, taken.refusal)

    async def close(self) -> None:
        """Close what the shared count holds."""
        if self._fleet is not None:
            await self._fleet.close()

    def _take(self, charges: Sequence[Charge]) -> Taken:
        now = self._clock()
        done: list[tuple[Charge, Decision]] = []
        for charge in charges:
            counted = charge.counted
            decision = self._governor.take(counted.resource, charge.subject, charge.cost)
            if not decision.allowed:
                for earlier, made in done:
                    self._governor.refund(earlier.counted.resource, earlier.subject, earlier.cost, at=made.at)
                return self._refuse(charges, now)
            done.append((charge, decision))
        quotas: list[Quota] = []
        for charge, decision in done:
            counted = charge.counted
            shadowed = bool(decision.shadowed)
            counted.talkers.note(charge.subject, charge.cost, now, refused=False, shadowed=shadowed)
            quotas += quotas_of(counted, decision)
        return Taken(quotas)

    def _refuse(self, charges: Sequence[Charge], now: float) -> Taken:
        """Say which limit makes one wait longest; nothing has been charged."""
        quotas: list[Quota] = []
        longest: tuple[float, Charge] | None = None
        for charge in charges:
            decision = self._governor.peek(charge.counted.resource, charge.subject, charge.cost)
            quotas += quotas_of(charge.counted, decision)
            if not decision.allowed:
                charge.counted.talkers.note(charge.subject, charge.cost, now, refused=True)
                wait = float("inf") if decision.retry_after is None else decision.retry_after
                if longest is None or wait > longest[0]:
                    longest = wait, charge
        if longest is None:
            # it came back between two looks
            return Taken(quotas)
        wait, charge = longest
        return Taken(quotas, refusal(charge.counted, charge.cost, wait))

    def usage(self, top: int) -> Mapping[str, Any]:
        """Return the members of ``UsageOut``; whatever is counted here, at most ``top`` subjects of each rule."""
        self._follow()
        items = [
            {
                "name": counted.rule.name,
                "taken": counted.talkers.taken,
                "refused": counted.talkers.refused,
                "shadowed": counted.talkers.shadowed,
                "top": [{"subject": s, "taken": t, "refused": r} for s, t, r in counted.talkers.top(top)],
            }
            for counted in (*self._counted.values(), *self._own.values())
        ]
        return {"items": items, "buckets": self._governor.buckets()}

    async def publish(self) -> None:
        """Tell the other processes what is used here."""
        if self._fleet is not None:
            await self._fleet.publish(self.usage(_TOLD))

    async def usage_of_all(self, top: int) -> Mapping[str, Any]:
        """Return the members of ``UsageOut`` of every process, as far as they told within half a minute."""
        others = [] if self._fleet is None else await self._fleet.published()
        return merged(self.usage(max(top, _TOLD)), others, top)

    def explain(self, request: Request) -> Mapping[str, Any]:
        """Return the members of ``TestOut``: what every rule would say; nothing is charged."""
        self._follow()
        verdicts = [self._verdict(counted, request) for counted in self._counted.values()]
        return {"allowed": all(v["allowed"] or v["shadow"] for v in verdicts), "verdicts": verdicts}

    def _verdict(self, counted: Counted, request: Request) -> dict[str, Any]:
        rule, limit = counted.rule, counted.limit
        free = rules.is_free(request.path)
        subject = None if free else rules.subject_of(rule, request)
        cost = rules.cost_of(rule, request)
        made: dict[str, Any] = {
            "name": rule.name, "counts": subject is not None, "subject": subject, "cost": cost, "allowed": True,
            "shadow": rule.shadow, "limit": limit.capacity, "window": limit.window, "remaining": None, "reset": None,
            "retry_after": None,
        }  # fmt: skip
        if subject is None:
            return made
        decision = self._governor.peek(counted.resource, self._bucket(subject), cost)
        state = decision.policies[0] if decision.policies else (rule.name, None, None)
        allowed = decision.allowed and not decision.shadowed
        return made | {
            "allowed": allowed,
            "remaining": state[1],
            "reset": state[2],
            "retry_after": None if decision.allowed else decision.retry_after,
        }

    def _charges(self, asking: Asking) -> list[Charge]:
        who = asking.principal
        owner, key, own = (None, None, ()) if who is None else (who.owner, who.id, who.limits)
        charges: list[Charge] = []
        for counted, cost, subject in self._ways(asking.method, asking.path, asking.route or asking.path):
            if subject is None:
                subject = rules.subject_among(counted.rule, asking.address, owner, key)  # noqa: PLW2901
                if subject is None:
                    continue
            charges.append(Charge(counted, self._bucket(subject), cost))
        if own and key is not None:
            charges += [Charge(self._of_key(rate), self._bucket(key), 1) for rate in own]
        return charges

    def _ways(self, method: str, path: str, route: str) -> tuple[Way, ...]:
        """Return the rules that count such requests, whoever asks; what was found is remembered until they change."""
        planned = self._planned
        found = planned.get((method, path, route))
        if found is None:
            if len(planned) >= _PLANNED:
                planned.clear()
            request = Request(method, path, route, None, None, None)
            found = planned[method, path, route] = tuple(
                Way(counted, rules.cost_of(counted.rule, request), rules.together(counted.rule, request))
                for counted in self._counted.values()
                if rules.applies(counted.rule, request)
            )
        return found

    def _bucket(self, subject: str) -> str:
        """Return where a subject is counted; a crowd shares."""
        self._looks += 1
        if self._looks % _LOOK == 0:
            self._crowded = self._governor.buckets() > self._most
        if self._crowded and subject:
            return f"~{crc32(subject.encode()) % _SHARED}"
        return subject

    def _follow(self) -> None:
        """Bring the governor up to date with the newest rules."""
        newest = self._current()
        if newest is self._rules:
            return
        counted: dict[str, Counted] = {}
        for rule in newest:
            before = self._counted.get(rule.name)
            made = counted_by(rule, Talkers(self._clock()) if before is None else before.talkers)
            self._governor.set_limit(made.resource, made.limit)
            counted[rule.name] = made
        kept = {each.resource for each in counted.values()}
        for gone in self._counted.values():
            if gone.resource not in kept:
                self._governor.set_limit(gone.resource, ())
        self._counted = counted
        # after the rules: whoever reads this one first reads rules that are as new
        self._planned = {}
        self._rules = newest

    def _of_key(self, rate: str) -> Counted:
        """Return the limit of a key's own that is written like this; all keys that have it are its subjects."""
        found = self._own.get(rate)
        if found is None:
            name = "key-" + "".join(c if c.isalnum() else "-" for c in rate.strip().lower())[:50]
            found = counted_by(LimitRule(name, rate), Talkers(self._clock()))
            self._governor.set_limit(found.resource, found.limit)
            self._own[rate] = found
        return found


def _is_free(asking: Asking) -> bool:
    who = asking.principal
    inside = who is not None and asking.path.startswith(_DOOR) and who.allows("limits:write")
    return inside or rules.is_free(asking.path)


def _args(charge: Charge) -> tuple[str, str, int, Limit]:
    return charge.counted.resource, charge.subject, charge.cost, charge.counted.limit


def _ask(fleet: Fleet, charge: Charge) -> Answer | None:
    return fleet.take(*_args(charge))
