"""Who may claim a key: asked of whoever knows whose it is, before a claim is granted (setting ``route_proofs``).

Without an entry for its kind a key is whoever's claims it first. What does not answer in time denies.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import importlib
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Misconfigured
from valhalla.kit.log import get_logger
from valhalla.kit.outgoing_guard import Reach, TargetRefused
from valhalla.sandbox.contracts import Route
from valhalla.sandbox.routing import kinds
from valhalla.sandbox.routing.errors import ClaimDenied, ClaimUnproven

if TYPE_CHECKING:
    from valhalla.kit.outgoing_guard.poster import Poster, Target

_log = get_logger("sandbox.routing.proofs")
_SETTING: Final = "route_proofs"
_ALL: Final = "*"
_AT_ONCE: Final = 8
_ANSWER: Final = 4096
_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who wants which key, and how. ``sandbox`` is None for one that is being made."""

    kind: str
    key: str
    mode: str
    sample: float
    owner: str
    principal: str
    is_admin: bool
    sandbox: str | None = None


Verdict = bool | str
"""True grants the claim; False, or a reason, denies it."""
Ask = Callable[[Claimant], Verdict | Awaitable[Verdict]]


class _Answer(msgspec.Struct):
    allow: bool
    reason: str = ""


class Proofs:
    """Asks before claims. ``rules`` by kind, ``*`` for the rest: ``anyone``, ``admin``, ``nobody``, a URL, or
    ``module:function``. ``seconds`` are for each answer.
    """

    def __init__(
        self, rules: Mapping[str, str], *, reach: Reach, seconds: float = 3.0, secret: str | None = None
    ) -> None:
        """Read the rules.

        Raises:
            Misconfigured: one of them is none.
        """
        self._reach = reach
        self._seconds = seconds
        self._secret = None if secret is None else secret.encode()
        self._poster: Poster | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.denied = 0
        self.unanswered = 0
        self._ask = {kind: self._read(kind, rule) for kind, rule in rules.items()}

    def register(self, kind: str, ask: Ask) -> None:
        """Ask ``ask`` about claims of a kind; a plain function is called in a thread."""
        self._ask[kind] = ask

    async def check(self, principal: Principal, sandbox: str | None, owner: str, routes: Sequence[Route]) -> None:
        """Let these claims be made, all of them.

        Raises:
            ClaimDenied: one of them is denied; the reason is told.
            ClaimUnproven: whoever knows did not answer in time, or not in a form that is understood.
        """
        if not self._ask:
            return
        await asyncio.gather(
            *(
                self._one(
                    Claimant(
                        route.kind,
                        route.key,
                        route.mode,
                        route.sample,
                        owner,
                        principal.id,
                        principal.is_admin,
                        sandbox,
                    )
                )
                for route in routes
            )
        )

    async def _one(self, claimant: Claimant) -> None:
        ask = self._ask.get(claimant.kind) or self._ask.get(_ALL)
        if ask is None:
            return
        route = f"{claimant.kind}:{claimant.key}"
        try:
            async with self._room, asyncio.timeout(self._seconds):
                if inspect.iscoroutinefunction(ask):
                    verdict: Any = await ask(claimant)
                else:
                    verdict = await asyncio.to_thread(ask, claimant)
                    if inspect.isawaitable(verdict):
                        verdict = await verdict
        except Exception as error:
            self.unanswered += 1
            why = f"within {self._seconds:g} s" if isinstance(error, TimeoutError) else f"({type(error).__name__})"
            _log.warning("nobody says whether a claim may be made", route=route, error=repr(error)[:_REASON])
            raise ClaimUnproven(f"whoever knows whose {route} is did not answer {why}", route=route) from error
        if verdict is True:
            return
        self.denied += 1
        reason = verdict[:_REASON] if isinstance(verdict, str) and verdict else "it is not this owner's"
        raise ClaimDenied(f"{route} may not be claimed: {reason}", route=route, reason=reason)

    def _read(self, kind: str, rule: str) -> Ask:
        if kind != _ALL:
            try:
                kinds.source_of(kind)
            except kinds.KindFormError as error:
                raise Misconfigured(f"'{kind[:63]}' is no kind of route", setting=_SETTING) from error
        match rule:
            case "anyone":
                return _anyone
            case "admin":
                return _admin
            case "nobody":
                return _nobody
            case _ if rule.startswith(("https://", "http://")):
                return self._webhook(kind, rule)
            case _:
                return _function(kind, rule)

    def _webhook(self, kind: str, url: str) -> Ask:
        from valhalla.kit.outgoing_guard.poster import Poster, Target

        try:
            target = Target.of(url, self._reach)
        except TargetRefused as error:
            raise Misconfigured(f"the URL for '{kind}' cannot be asked: {error.detail}", setting=_SETTING) from error
        self._poster = self._poster or Poster(self._reach)

        async def ask(claimant: Claimant) -> Verdict:
            return await self._post(target, claimant)

        return ask

    async def _post(self, target: Target, claimant: Claimant) -> Verdict:
        assert self._poster is not None
        body = msgspec.json.encode({"type": "route.claim", "data": asdict(claimant)})
        lines = b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
        if self._secret is not None:
            lines += _signature(self._secret, body)
        answer = await self._poster.post(target, lines, body, seconds=self._seconds, most=_ANSWER)
        if answer.status in (401, 403, 404):
            return f"the answer was {answer.status}"
        if not 200 <= answer.status < 300:
            raise ConnectionError(f"status {answer.status}")
        told = msgspec.json.decode(answer.excerpt, type=_Answer)
        return True if told.allow else told.reason or False

    def close(self) -> None:
        """Close kept connections."""
        if self._poster is not None:
            self._poster.close()


def _signature(secret: bytes, body: bytes) -> bytes:
    """Return the headers of Standard Webhooks 1.0; the secret's own bytes are the key."""
    id_, stamp = f"claim_{secrets.token_hex(12)}", int(time.time())
    mac = hmac.digest(secret, f"{id_}.{stamp}.".encode() + body, hashlib.sha256)
    signed = base64.b64encode(mac).decode()
    return f"webhook-id: {id_}\r\nwebhook-timestamp: {stamp}\r\nwebhook-signature: v1,{signed}\r\n".encode()


def _function(kind: str, rule: str) -> Ask:
    module, colon, name = rule.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name) if colon and module and name else None
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(f"the function for '{kind}' cannot be imported: {error}", setting=_SETTING) from error
    if not callable(found):
        raise Misconfigured(
            f"the rule for '{kind}' is 'anyone', 'admin', 'nobody', a URL, or 'module:function'", setting=_SETTING
        )
    return cast("Ask", found)


async def _anyone(_: Claimant) -> Verdict:
    return True


async def _admin(claimant: Claimant) -> Verdict:
    return claimant.is_admin or "only an admin's key claims keys of this kind"


async def _nobody(_: Claimant) -> Verdict:
    return "nobody claims keys of this kind here"
