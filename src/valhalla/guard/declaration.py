"""What an action declares about itself, checked once when it is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from valhalla.guard.binding import Binder
from valhalla.guard.breaker import Breaker
from valhalla.guard.contracts import Effect
from valhalla.guard.errors import BadDeclaration, DoneFailed
from valhalla.guard.fingerprint import canonical, hasher
from valhalla.guard.names import check_key, check_name
from valhalla.guard.quorum import Quorum, parse
from valhalla.guard.retry import TRANSIENT, UNSENT, Budget, On, Retry, as_retry, matches

# errors that say nothing about whether the effect happened
_PROVES_NOTHING = (BaseException, Exception, TimeoutError, OSError, ConnectionError, RuntimeError)


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """One action. Callables get the action's arguments as they were passed."""

    name: str
    function: Callable[..., Any]
    effect: Effect
    binder: Binder
    is_async: bool
    hash: blake2b
    key: int | Callable[..., object] | None = None
    fingerprint: Callable[..., object] | None = None
    limited: bool = False
    resource: str = ""
    names: tuple[str, ...] | None = None
    subject: int | Callable[..., object] | None = None
    cost: int | Callable[..., int] = 1
    cost_index: int | None = None
    retry: Retry | None = None
    retry_on: On = UNSENT
    budget: Budget | None = None
    provider_key: bool = False
    failures: tuple[type[BaseException], ...] = (DoneFailed,)
    timeout: float | None = None
    breaker: Breaker | None = None
    approval: Quorum | Callable[..., object] | None = None
    simulate: Callable[..., Any] | None = None
    reconcile: Callable[..., Any] | None = None
    redact: tuple[str, ...] = ()
    lease: float = 60.0
    heartbeat: bool = True
    ttl: float = 86_400.0
    tombstone: float = 0.0
    expires_in: float | Callable[..., float] = 86_400.0
    transactional: int | None = None
    shows: Callable[[], Mapping[str, Any]] | None = None
    """What people see in the place of the arguments."""

    def fingerprint_of(self, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the fingerprint of a call.

        Raises:
            BadArguments: the arguments have no canonical form.
        """
        if self.fingerprint is not None:
            semantic = self.fingerprint(*args, **kwargs)
        elif self.transactional is None:
            semantic = values[self.binder.skip :]
        else:
            # the connection carries the effect, it is no part of it
            semantic = (*values[self.binder.skip : self.transactional], *values[self.transactional + 1 :])
        hashed = self.hash.copy()
        hashed.update(canonical(semantic))
        return hashed.digest()

    def key_of(self, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Return the idempotency key of a call.

        Raises:
            BadKey: it cannot be used.
        """
        if self.key is None:
            return None
        return check_key(values[self.key] if isinstance(self.key, int) else self.key(*args, **kwargs))

    def subject_of(self, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return whose limit is charged."""
        if self.subject is None:
            return ""
        return str(values[self.subject] if isinstance(self.subject, int) else self.subject(*args, **kwargs))

    def cost_of(self, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return how much of the limit is charged."""
        if self.cost_index is not None:
            return values[self.cost_index]
        return self.cost if isinstance(self.cost, int) else self.cost(*args, **kwargs)

    def expiry_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
        """Return after how many seconds a hold of the call ends."""
        return self.expires_in(*args, **kwargs) if callable(self.expires_in) else self.expires_in

    def quorum_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Quorum | None:
        """Return who must approve this call; ``None`` for nobody."""
        approval = self.approval
        if not callable(approval):
            return approval
        answer = approval(*args, **kwargs)
        if answer is None or answer is False:
            return None
        return parse("1 of anyone" if answer is True else answer)  # pyright: ignore[reportArgumentType]

    def retries_on(self, error: BaseException) -> bool:
        """Say whether another attempt may follow ``error``."""
        return isinstance(error, UNSENT) or matches(error, self.retry_on)


def declare(
    name: str,
    function: Callable[..., Any],
    *,
    effect: Effect | str = Effect.IRREVERSIBLE,
    key: str | Callable[..., object] | None = None,
    fingerprint: Callable[..., object] | None = None,
    limit: object = None,
    subject: str | Callable[..., object] | None = None,
    cost: int | str | Callable[..., int] = 1,
    retries: int | Retry | None = None,
    retry_on: On | None = None,
    provider_key: bool = False,
    failures: type[BaseException] | Sequence[type[BaseException]] = (),
    timeout: float | None = None,
    breaker: Breaker | int | None = None,
    approval: str | int | Callable[..., object] | None = None,
    simulate: Callable[..., Any] | None = None,
    reconcile: Callable[..., Any] | None = None,
    redact: str | Sequence[str] = (),
    lease: float = 60.0,
    heartbeat: bool = True,
    ttl: float = 86_400.0,
    tombstone: float | None = None,
    expires_in: float | Callable[..., float] = 86_400.0,
    transactional: str | None = None,
) -> Declaration:
    """Check a declaration and return it; the parameters are those of ``Guard.action``.

    Raises:
        BadName: the name can be mistaken for another.
        BadDeclaration: something contradicts itself.
    """
    check_name(name)
    try:
        effect = Effect(effect)
    except ValueError:
        raise BadDeclaration(f"effect={effect!r} is none of {', '.join(Effect)}") from None
    if not callable(function):
        raise BadDeclaration(f"{type(function).__name__} is no function", help="Write @guard.action('name', ...).")
    for what, seconds in (("timeout", timeout), ("lease", lease), ("ttl", ttl), ("expires_in", expires_in)):
        if seconds is not None and not (what == "expires_in" and callable(seconds)):
            _above_zero(what, seconds)
    for what, given in (("fingerprint", fingerprint), ("simulate", simulate), ("reconcile", reconcile)):
        if given is not None and not callable(given):
            raise BadDeclaration(f"{what} is a function, not {type(given).__name__}")
    for what, given in (("key", key), ("subject", subject)):
        if given is not None and not isinstance(given, str) and not callable(given):
            raise BadDeclaration(f"{what} is an argument's name or a function, not {type(given).__name__}")
    if breaker is not None and not isinstance(breaker, (int, Breaker)):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise BadDeclaration(f"breaker is a number or a Breaker, not {type(breaker).__name__}")
    binder = Binder(function)
    retry = as_retry(retries)
    return Declaration(
        name=name,
        function=function,
        effect=effect,
        binder=binder,
        is_async=inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None)),  # noqa: B004 - not asked whether, but what
        hash=hasher(name),
        key=binder.index(key, "key") if isinstance(key, str) else key,
        fingerprint=fingerprint,
        limited=limit is not None,
        resource=name,
        subject=binder.index(subject, "subject") if isinstance(subject, str) else subject,
        cost=1 if isinstance(cost, str) else cost,
        cost_index=binder.index(cost, "cost") if isinstance(cost, str) else None,
        retry=retry if retry is not None and retry.retries else None,
        retry_on=_retry_on(effect, retry_on, provider_key=provider_key),
        budget=Budget(retry.budget) if retry is not None and retry.retries else None,
        provider_key=provider_key,
        failures=(DoneFailed, *((failures,) if isinstance(failures, type) else failures)),
        timeout=timeout,
        breaker=Breaker(breaker) if isinstance(breaker, int) else breaker,
        approval=approval if approval is None or callable(approval) else parse(approval),
        simulate=simulate,
        reconcile=reconcile,
        # one name is a text too, whose letters would be names that nobody has
        redact=(redact,) if isinstance(redact, str) else tuple(redact),
        lease=max(lease, (timeout or 0) * 1.25),
        heartbeat=heartbeat,
        ttl=ttl,
        # what cannot be taken back is remembered longer than its result
        tombstone=tombstone if tombstone is not None else (30 * 86_400.0 if effect is Effect.IRREVERSIBLE else 0.0),
        expires_in=expires_in,
        transactional=None if transactional is None else binder.index(transactional, "transactional"),
    )


def _above_zero(what: str, seconds: object) -> None:
    if not isinstance(seconds, (int, float)):
        raise BadDeclaration(f"{what} is a number of seconds, not {type(seconds).__name__}")
    if not seconds > 0:
        raise BadDeclaration(f"{what} must be above zero")


def _retry_on(effect: Effect, on: On | None, *, provider_key: bool) -> On:
    if on is None:
        return TRANSIENT if effect.repeatable or provider_key else UNSENT
    vague = [
        c.__name__ for c in _PROVES_NOTHING if c is on or (not isinstance(on, type) and not callable(on) and c in on)
    ]
    if vague and not effect.repeatable and not provider_key:
        raise BadDeclaration(
            f"retry_on={', '.join(vague)} does not prove that the {effect} effect did not happen",
            help="Name errors that are raised before anything is sent, pass current().idempotency_key on to the "
            "provider and say provider_key=True, or declare the effect idempotent.",
        )
    return on
