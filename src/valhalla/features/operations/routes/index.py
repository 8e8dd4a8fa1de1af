"""The index over the application that is served: what it has, and what would stop a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from valhalla.features.operations.limits.contracts import LimitRule
from valhalla.features.operations.limits.rules import Request
from valhalla.features.operations.routes.contracts import Route, Served, Stop, Times
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Forbidden, MethodNotAllowed, NotFound, Problem, QuotaExceeded, Unauthenticated


class Index:
    """Everything is answered from memory."""

    def __init__(
        self,
        served: Served,
        rules: Callable[[], Sequence[LimitRule]],
        explain: Callable[[Request], Mapping[str, Any]],
    ) -> None:
        """``explain`` says what every limit would say to a request, and takes nothing.

        Raises:
            ValueError: a route is mounted twice.
        """
        from valhalla.features.operations.routes.reading import read

        self.rules = rules
        self._served = served
        self._explain = explain
        self._by_route = {id(route): read(route, served.hooks.is_public) for route in served.routes}
        self.routes: tuple[Route, ...] = tuple(self._by_route.values())
        if len({route.id for route in self.routes}) != len(self.routes):
            raise ValueError("a route is mounted twice")

    def times(self) -> Mapping[str, list[Times]]:
        """Return what this process measured, by path."""
        found: dict[str, list[Times]] = {}
        for one in self._served.times():
            found.setdefault(one.route, []).append(one)
        return found

    def answering(self, method: str, path: str) -> tuple[Route | None, dict[str, str], tuple[str, ...]]:
        """Return the route that would answer, the parameters in the path, and every method that the path has."""
        allowed: set[str] = set()
        for route in self._served.find(path).routes:
            found = route.path_regex.match(path)
            if found is None:
                continue
            entry = self._by_route[id(route)]
            has = {*entry.methods, "HEAD"} if "GET" in entry.methods else set(entry.methods)
            if method in has or entry.kind == "mount":
                return entry, dict(found.groupdict()), tuple(sorted(has))
            allowed |= has
        return None, {}, tuple(sorted(allowed))

    def stops(self, method: str, path: str, principal: Principal | None, address: str | None) -> list[Stop]:
        """Return everything that would stop a request, in the order in which it is asked; the first one answers."""
        hooks = self._served.hooks
        asked = "GET" if method in ("HEAD", "WEBSOCKET") else method
        route, _, allowed = self.answering(method, path)
        found: list[Stop] = []
        if hooks.shield is not None:
            # in a context of its own: a shield notes what a request that passes may do, and this one is thought up
            problem = copy_context().run(hooks.shield.refuse, asked, path, b"", principal)
            if problem is not None:
                found.append(_stop("maintenance", problem))
        if hooks.blocklist is not None and (problem := hooks.blocklist.refusal(asked, path, address, principal)):
            found.append(_stop("blocklist", problem))
        public = hooks.is_public is None or hooks.is_public(path)
        if principal is None and not public:
            found.append(_stop("authentication", Unauthenticated()))
        template = "" if route is None else route.path
        if hooks.policies is not None and (
            problem := hooks.policies.refusal(asked, path, template, address, principal)
        ):
            found.append(_stop("policy", problem))
        found += self._limits(asked, path, route, principal, address)
        if route is None:
            if not allowed:
                return [*found, _stop("path", NotFound("no route has this path"))]
            return [*found, _stop("method", MethodNotAllowed(f"the path has {', '.join(allowed)}"))]
        if route.scope is not None and principal is not None and not principal.allows(route.scope):
            found.append(_stop("scope", Forbidden(f"this needs the scope '{route.scope}'")))
        return found

    def _limits(
        self, method: str, path: str, route: Route | None, principal: Principal | None, address: str | None
    ) -> list[Stop]:
        template = "" if route is None else route.path
        owner, key = (None, None) if principal is None else (principal.owner, principal.id)
        verdicts = self._explain(Request(method, path, template, address, owner, key))["verdicts"]
        return [
            _stop("limit", QuotaExceeded(f"the limit '{one['name']}' is used up"))
            for one in verdicts
            if one["counts"] and not one["allowed"] and not one["shadow"]
        ]


def _stop(by: Any, problem: Problem) -> Stop:
    return Stop(by, problem.status, problem.code, problem.detail)
