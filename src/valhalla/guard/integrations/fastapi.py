"""Guarded actions behind FastAPI: the request's key and principal in, RFC 9457 and ``RateLimit`` headers out.

>>> app = FastAPI()
>>> install(app)
>>> app.include_router(holds_router(guard, who))
>>> calls = caller(guard, who)
>>> @app.post("/refunds")
... async def refunds(order: Order, call: Annotated[Caller, Depends(calls)]) -> str:
...     return await call(refund, order.id, order.cents)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response

from valhalla.guard import holds
from valhalla.guard.errors import Held, HoldNotFound, LimitExceeded
from valhalla.guard.governor import Decision, headers
from valhalla.guard.integrations.errors import KeyMissing
from valhalla.guard.integrations.outer import Outer
from valhalla.guard.names import check_key
from valhalla.guard.outcome import Outcome
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.http import PROBLEM_JSON
from valhalla.kit.json import dumps
from valhalla.kit.log import correlation_id

if TYPE_CHECKING:
    from valhalla.guard.guard import Guard

P = ParamSpec("P")
R = TypeVar("R")
Who = Callable[..., "str | Principal | Coroutine[Any, Any, str | Principal]"]
_HOLDS: Final = "/holds/{id}"


class Caller:
    """Calls actions for one request. Its principal is charged, its key names the effect where the action does not."""

    def __init__(self, guard: Guard, who: str, key: str | None, location: str, response: Response) -> None:
        """``response`` gets the headers of a call that succeeds.

        Raises:
            BadKey: the key cannot be used.
        """
        self._guard = guard
        self.principal: Final = who
        # the same key of two clients is two keys; the length makes the border unambiguous
        self.key: Final = None if key is None else f"{len(who)}:{who}:{check_key(key)}"
        self._location = location
        self._response = response

    async def __call__(self, action: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the action's value; a sync action runs in a thread.

        Raises:
            GuardProblem: as from the action itself, with the headers of its response.
        """
        outer = Outer(self._guard, action)
        with self._guard.acting(self.principal, correlation=correlation_id()):
            outcome = await outer.aoutcome(self.key, args, kwargs)
        return self._answer(outer, outcome)

    def run(self, action: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same in a ``def`` route, which FastAPI runs in a thread."""
        outer = Outer(self._guard, action)
        with self._guard.acting(self.principal, correlation=correlation_id()):
            outcome = outer.outcome(self.key, args, kwargs)
        return cast("R", self._answer(outer, outcome))

    def _answer(self, outer: Outer, outcome: Outcome[Any]) -> Any:
        error = outcome.error
        refused = error.extra.get("violated_policies") if isinstance(error, LimitExceeded) else None
        decision = Decision(
            "limited" if refused else "allowed",
            None,
            outcome.policies,
            outcome.retry_after,
            refused[0] if refused else None,
        )
        told = headers(self._guard.definitions(outer.declared), decision)
        if isinstance(error, Problem):
            error.headers |= told
            if isinstance(error, Held) and error.id is not None:
                error.headers["Location"] = self._location.format(id=error.id)
        self._response.headers.update(told)
        return outcome.unwrap()


def caller(
    guard: Guard, principal: Who, *, key_required: bool = False, location: str = _HOLDS
) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """Return the dependency that hands a ``Caller`` to a route.

    ``principal`` is a dependency itself: it returns who sent the request, or raises. ``location`` is where a held
    action can be looked at (``holds_router``).
    """

    async def dependency(
        response: Response,
        who: Any = Depends(principal),  # noqa: B008 - FastAPI's form
        idempotency_key: str | None = Header(None),
    ) -> Caller:
        key = idempotency_key
        if key is None and key_required:
            raise KeyMissing
        # the draft's form is a quoted string, but most clients send it bare
        if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
            key = key[1:-1]
        return Caller(guard, _id(who), key, location, response)

    return dependency


def install(app: FastAPI) -> None:
    """Answer problems of the guard, and all others of Valhalla, as RFC 9457 says; a held action with 202."""

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_answer(error, instance=request.url.path)

    app.add_exception_handler(Problem, handle)


def problem_answer(problem: Problem, *, instance: str | None = None) -> Response:
    """Return the response of a problem. 202 is no error, so it is plain JSON with the same members."""
    told = dict(problem.headers)
    if problem.retry_after is not None:
        # rounded up: who comes early is refused again
        told.setdefault("Retry-After", str(max(1, math.ceil(problem.retry_after))))
    body = problem.document(instance=instance, correlation_id=correlation_id())
    media = "application/json" if problem.status < 400 else PROBLEM_JSON
    return Response(dumps(body), problem.status, told, media_type=media)


def holds_router(guard: Guard, principal: Who, path: str = _HOLDS) -> APIRouter:
    """Return the route that tells a requester, and nobody else, what became of a held action."""
    router = APIRouter()

    async def hold(
        id: str,  # noqa: A002 - on the wire
        who: Any = Depends(principal),  # noqa: B008 - FastAPI's form
    ) -> dict[str, Any]:
        record = await guard.adrive(holds.find(id))
        if record.principal != _id(who):
            raise HoldNotFound(f"there is no action {id}")
        return {
            "id": record.id,
            "action": record.name,
            "state": record.state,
            "reason": record.reason,
            "approvals": sum(approval.decision == "approve" for approval in record.approvals),
            "needed": sum(step.count for step in record.quorum),
            "expires_at": record.expires_at,
        }

    router.add_api_route(path, hold, methods=["GET"])
    return router


def _id(who: str | Principal) -> str:
    return who.id if isinstance(who, Principal) else who
