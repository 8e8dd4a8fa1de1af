"""What policies say of a request or of what a honeypot caught, which of them can be, and which mode holds: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from valhalla.features.security.policies.book import Candidates, Wanted
from valhalla.features.security.policies.conditions import Condition
from valhalla.features.security.policies.contracts import (
    COUNTERS,
    MODES,
    Decision,
    Deed,
    Mode,
    ModeState,
    Policy,
    Request,
    Source,
    Standing,
    Verdict,
)
from valhalla.features.security.policies.errors import BadMode, BadPolicy
from valhalla.features.security.policies.reading import flat
from valhalla.kernel.principal import Principal

NAME: Final = r"[A-Za-z][A-Za-z0-9_.:-]{0,62}"
SHORTEST: Final = timedelta(minutes=1)
FARTHEST: Final = timedelta(days=7)
LONGEST: Final = 90 * 86_400.0
NORMAL: Final = Standing("normal", "", "", None, None)
_ENDING: Final = frozenset({"allow", "challenge", "block", "hold"})
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATH: Final = re.compile(r"/[\x21-\x29\x2b-\x7e]*\*?")
_SANDBOX: Final = re.compile(r"/api/sandboxes/([^/]+)")
# what authenticates is for nobody's conditions, nor for the messages of one that fails
_HIDDEN: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-consul-token"})
_KEYS: Final = frozenset({b"authorization", b"x-api-key", b"x-consul-token"})
_MOST_HEADERS: Final = 100
_LONGEST_HEADER: Final = 1_024
_LONGEST_QUERY: Final = 2_048

Counts = Mapping[str, int]
Granted = Callable[[str, str], bool]
Ask = Callable[[Sequence[Wanted]], dict[str, Any]]
Doing = Callable[[Policy], Deed]


def check(policy: Policy) -> None:
    """Accept a policy that can be asked.

    Raises:
        BadPolicy: it contradicts itself, or its condition cannot be.
    """
    if re.fullmatch(NAME, policy.name) is None:
        raise BadPolicy("a policy's name is 1 to 63 of A-Z, a-z, 0-9, '_', '.', ':' and '-', a letter first")
    for path in policy.paths:
        if len(path) > 300 or _PATH.fullmatch(path) is None:
            raise BadPolicy("a path is written '/api/*' or '/api/sandboxes', a star only at its end")
    if unknown := sorted(set(policy.methods) - _METHODS):
        raise BadPolicy(f"there is no method {unknown[0][:20]!a}; HEAD is judged as GET")
    if not policy.modes:
        raise BadPolicy("a policy without modes is never asked; disable it instead")
    if policy.on == "honeypot":
        if policy.action in ("challenge", "hold"):
            raise BadPolicy("what a honeypot caught is over: it can be allowed, logged, blocked, or raise the mode")
        if policy.paths or policy.methods or policy.subject != "address":
            raise BadPolicy("a policy on honeypots has no paths and methods, and blocks addresses")
    if policy.action == "elevate":
        if policy.mode == "normal":
            raise BadPolicy("a mode is raised to 'elevated' or 'lockdown'")
        if not SHORTEST.total_seconds() <= policy.duration <= FARTHEST.total_seconds():
            raise BadPolicy("a raised mode lasts from 60 seconds to 7 days")
    elif not 1 <= policy.duration <= LONGEST:
        raise BadPolicy("a duration is from 1 second to 90 days")
    Condition(policy.when, policy.on)


def decide(
    candidates: Candidates, method: str, ask: Ask, counts: Counts | None, doing: Doing
) -> tuple[Decision, list[Verdict]]:
    """Ask the candidates in their order until one ends the matter.

    ``ask`` returns the values of the variables, and is called once at most; ``counts`` are ``None`` where nothing has
    been counted; ``doing`` makes the deed of a policy. Also returned are those that matched or failed.
    """
    asked: Any = None
    ending: Policy | None = None
    deeds: list[Deed] = []
    verdicts: list[Verdict] = []
    for one in candidates.anyway if counts is None else candidates.policies:
        policy, condition = one.policy, one.condition
        if policy.methods and method not in policy.methods:
            continue
        if counts is not None and not all(counts.get(name) for name in condition.counted):
            continue
        if asked is None:
            asked = candidates.context(ask(candidates.wanted))
        try:
            said = condition.execute(asked)
        except Exception as error:  # noqa: BLE001 - a condition that fails says nothing, and that is counted
            verdicts.append(Verdict(policy, False, type(error).__name__))
            continue
        if said is not True:
            continue
        verdicts.append(Verdict(policy, True))
        if policy.shadow:
            continue
        if policy.action != "allow":
            deeds.append(doing(policy))
        if policy.action in _ENDING:
            ending = policy
            break
    return Decision(ending, tuple(deeds)), verdicts


def request_values(request: Request, wanted: Sequence[Wanted], counts: Counts | None, mode: Mode) -> dict[str, Any]:
    """Return the values that conditions on a request ask for."""
    return {
        flat: mode if variable == "mode" else _MAKERS[variable](member, request, counts)
        for flat, variable, member in wanted
    }


def source_values(source: Source, mode: Mode) -> dict[str, Any]:
    """Return the values of conditions on what a honeypot caught."""
    values: dict[str, Any] = {
        flat("event", name): getattr(source, name) for name in ("kind", "honeypot", "service", "score")
    }
    known = {"address": source.address, "score": source.total, "events": source.events}
    return values | {flat("source", name): value for name, value in known.items()} | {"mode": mode}


def _of_request(member: str, request: Request, _counts: Counts | None) -> Any:
    match member:
        case "method" | "path" | "route":
            return getattr(request, member)
        case "query":
            return request.query[:_LONGEST_QUERY].decode("latin-1")
        case "address":
            return request.address or ""
        case "has_key":
            return not _KEYS.isdisjoint(request.headers)
        case "headers":
            shown = [pair for pair in request.headers.items() if pair[0] not in _HIDDEN][:_MOST_HEADERS]
            return {name.decode("latin-1"): _header(value) for name, value in shown}
        case _:
            return _header(request.headers.get(b"user-agent" if member == "user_agent" else b"host", b""))


def _header(value: bytes) -> str:
    return value[:_LONGEST_HEADER].decode("latin-1")


def _of_principal(member: str, request: Request, _counts: Counts | None) -> Any:
    principal = request.principal
    match member:
        case "anonymous":
            return principal is None
        case "admin":
            return principal is not None and principal.is_admin
        case "scopes":
            return [] if principal is None else sorted(principal.scopes)
        case _:
            return "" if principal is None else getattr(principal, member)


def _of_sandbox(_member: str, request: Request, _counts: Counts | None) -> str:
    found = _SANDBOX.match(request.path)
    return "" if found is None else found[1]


def _of_counters(member: str, _request: Request, counts: Counts | None) -> int:
    return 0 if counts is None else counts.get(member, 0)


_MAKERS: Final[Mapping[str, Callable[[str, Request, Counts | None], Any]]] = {
    "request": _of_request,
    "principal": _of_principal,
    "sandbox": _of_sandbox,
    "counters": _of_counters,
}


def no_counts() -> Counts:
    """Return the counters of somebody of whom nothing is counted."""
    return {name + span: 0 for name in COUNTERS for span in ("", "_hour")}


def standing(state: ModeState, now: datetime) -> Standing:
    """Return the mode that holds; one that has run out is ``normal`` again, by the clock alone."""
    if state.mode == "normal" or state.until is None or now >= state.until:
        return NORMAL
    # one of a newer release: whatever it is, it was not set for nothing
    mode: Mode = state.mode if state.mode in MODES else "lockdown"
    return Standing(mode, state.reason, state.actor, state.since, state.until)


def raised(state: ModeState, mode: Mode, until: datetime, now: datetime, reason: str, actor: str) -> ModeState | None:
    """Return the state after a policy raises the mode, ``None`` if it is so already.

    A policy lowers and shortens nothing.
    """
    holds = standing(state, now)
    if MODES.index(holds.mode) > MODES.index(mode):
        return None
    if holds.mode != mode:
        return ModeState(mode, reason, actor, now, until)
    if holds.until is not None and until - holds.until < SHORTEST:
        # a storm would write a longer one for each of its requests
        return None
    return ModeState(mode, holds.reason, holds.actor, holds.since, until)


def set_by_person(mode: Mode, lasting: timedelta | None, now: datetime, reason: str, principal: Principal) -> ModeState:
    """Return the state that a person sets.

    Raises:
        BadMode: a raised mode without an end, or with one that is too near or far.
    """
    if mode == "normal":
        if lasting is not None:
            raise BadMode("'normal' has no end")
        return ModeState("normal", reason, principal.id, now, None)
    if lasting is None or not SHORTEST <= lasting <= FARTHEST:
        raise BadMode("a raised mode lasts from 60 seconds to 7 days")
    return ModeState(mode, reason, principal.id, now, now + lasting)
