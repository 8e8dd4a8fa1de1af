"""What policy says about a call: before it begins, and again when an approved hold is dispatched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard import rules
from valhalla.guard.codec import JsonCodec
from valhalla.guard.contracts import Hold, Mode, Verdict
from valhalla.guard.errors import BadArguments
from valhalla.guard.quorum import Quorum, spell
from valhalla.guard.rules import Judgement

if TYPE_CHECKING:
    from valhalla.guard.calls import Call
    from valhalla.guard.plans import Grants

PAYLOADS: Final = JsonCodec()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a policy is asked about. ``arguments`` are the call's own, not redacted."""

    name: str
    effect: str
    arguments: Mapping[str, Any]
    principal: str
    mode: Mode
    key: str | None


Policy = Callable[[Proposal], "Verdict | str | tuple[Verdict | str, str | None] | None"]
"""Says ``"run"``, ``"hold"`` or ``"deny"``, with a reason or without; anything else denies."""


class Judging:
    """The part of a guard that judges."""

    fused: bool
    policy_version: str
    fallback: Quorum
    max_holds: int
    redact: tuple[str, ...]
    _policy: Policy | None = None

    @property
    def policy(self) -> Policy | None:
        """What judges every call. Once there is one, all calls take the general path."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy | None) -> None:
        self._policy = policy
        if policy is not None:
            self.fused = False

    def judge(self, call: Call, grants: Grants | None, children: Grants | None) -> Judgement:
        """Say whether the call runs, is held or is denied."""
        verdict, reason = self._ask(call)
        quorum = call.declaration.quorum_of(call.args, call.kwargs)
        text = self.policy_text(quorum or self.fallback)
        if verdict is Verdict.DENY:
            return Judgement(verdict, reason, text)
        if grants is not None and children is None and call.declaration.effect.value != "none":
            return self._held(call, quorum, reason or "it is not in the plan that is applied", text)
        granted = children is not None and children.approved
        if verdict is Verdict.HOLD or (quorum is not None and not granted):
            return self._held(call, quorum, reason, text)
        return Judgement(Verdict.RUN, reason, text)

    def _held(self, call: Call, quorum: Quorum | None, reason: str | None, text: str) -> Judgement:
        try:
            payload = PAYLOADS.encode((call.args, call.kwargs))
        except TypeError as error:
            raise BadArguments(f"{call.declaration.name} cannot be held: {error}") from None
        summary = PAYLOADS.encode(rules.shown(call, lambda: self.redact)).decode()
        expires_in = call.declaration.expiry_of(call.args, call.kwargs)
        hold = Hold(quorum or self.fallback, expires_in, self.max_holds, payload, summary)
        return Judgement(Verdict.HOLD, reason, text, hold)

    def _ask(self, call: Call) -> tuple[Verdict, str | None]:
        if self.policy is None:
            return Verdict.RUN, None
        declared, scope = call.declaration, call.scope
        arguments = declared.binder.named(call.values)
        proposal = Proposal(declared.name, declared.effect, arguments, scope.principal, scope.mode, call.key)
        try:
            answer = self.policy(proposal)
            if answer is None:
                return Verdict.RUN, None
            verdict, reason = answer if isinstance(answer, tuple) else (answer, None)
            # also of a tuple: "deny" is no member, and nothing but a member may be compared with one
            return Verdict(verdict), None if reason is None else str(reason)
        except Exception as error:  # noqa: BLE001 - a policy that fails lets nothing through
            return Verdict.DENY, f"the policy failed: {type(error).__name__}"

    def denied_now(self, call: Call) -> str | None:
        """Return why policy denies the call now, ``None`` if it does not."""
        verdict, reason = self._ask(call)
        return (reason or "policy") if verdict is Verdict.DENY else None

    def policy_text(self, quorum: Quorum) -> str:
        """Return what an approval is given under; when it changes, the approval is stale."""
        return _policy_text(self.policy_version, quorum)


@lru_cache(256)
def _policy_text(version: str, quorum: Quorum) -> str:
    return f"{version}|{spell(quorum)}"
