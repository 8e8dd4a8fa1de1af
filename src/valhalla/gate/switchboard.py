"""Find the routes that a path may have by its segments: the last of 200 routes costs what the first does.

FastAPI asks one route after the other (1.7 µs each, and included routers are nested scans). A tree of segments leaves
those few that can match, in the order in which they were declared, so the outcome is that of the scan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Receive, Scope, Send

LEAF: Final = "valhalla.leaf"
_PARAMETER: Final = re.compile(r"\{[^}]*\}")


class Overlap(ValueError):  # noqa: N818 - named after what was found
    """Two routes want the same requests, or one has no place in the tree: a mistake that must stop the boot."""


class Leaf:
    """The routes that one path may have, in the order of their declaration."""

    __slots__ = ("_uniform", "routes")

    def __init__(self, routes: tuple[Any, ...]) -> None:
        self.routes = routes
        paths = {route.path for route in routes}
        self._uniform: str | None = paths.pop() if len(paths) == 1 else None

    def template(self, method: str, path: str) -> str:
        """Return the template of the route that will answer."""
        if self._uniform is not None:
            return self._uniform
        best = ""
        for route in self.routes:
            if route.path_regex.match(path):
                best = best or route.path
                if method in (getattr(route, "methods", None) or ()):
                    return route.path
        return best

    def methods(self, path: str) -> frozenset[str]:
        """Return every method of a path: a route alone tells only its own."""
        found: set[str] = set()
        for route in self.routes:
            if route.path_regex.match(path):
                found |= getattr(route, "methods", None) or set()
        return frozenset(found | ({"HEAD"} if "GET" in found else set()))


def routed_path(scope: Scope) -> str:
    """Return the path below the place where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) and path[len(root) :][:1] in ("", "/") else path


class _Node:
    __slots__ = ("anything", "deep", "here", "named")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.anything: _Node | None = None
        self.here: list[int] = []
        # of routes that take any number of segments from here on
        self.deep: list[int] = []


class Switchboard:
    """Every route of one application by the segments of its path."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        """Read the routes, once.

        Raises:
            Overlap: two of them have one method and shape, or one has no path (an included router, a host).
        """
        self._routes: tuple[Any, ...] = tuple(routes)
        self._root = _Node()
        self._nothing = Leaf(())
        self._leaves: dict[tuple[int, ...], Leaf] = {(): self._nothing}
        taken: dict[tuple[str, str], str] = {}
        for number, route in enumerate(self._routes):
            path: str | None = getattr(route, "path", None)
            if path is None or not hasattr(route, "path_regex"):
                raise Overlap(f"{type(route).__name__} has no path of its own: hand over its routes one by one")
            shape = _PARAMETER.sub("{}", path)
            for method in getattr(route, "methods", None) or {type(route).__name__}:
                if (other := taken.get((method, shape))) is not None:
                    raise Overlap(f"two routes answer {method} {path}" + (f" and {other}" if other != path else ""))
                taken[method, shape] = path
            self._add(number, path, rest=not hasattr(route, "endpoint"))
        # most paths have no parameter: they need not be taken apart
        self._plain = {path: self._walk(path.split("/")[1:]) for path in taken.values() if "{" not in path}

    def _add(self, number: int, path: str, *, rest: bool) -> None:
        node = self._root
        for segment in path.split("/")[1:]:
            if ":path}" in segment:
                node.deep.append(number)
                return
            if "{" in segment:
                node.anything = node.anything or _Node()
                node = node.anything
            else:
                node = node.named.setdefault(segment, _Node())
        # a mounted application
        (node.deep if rest else node.here).append(number)

    def find(self, path: str) -> Leaf:
        """Return the routes that ``path`` may have; none for an unknown one."""
        leaf = self._plain.get(path)
        if leaf is not None:
            return leaf
        segments = path.split("/")[1:]
        node = self._root
        for segment in segments:
            named = node.named.get(segment)
            if node.deep or (named is not None and node.anything is not None):
                return self._walk(segments)
            node = named or node.anything
            if node is None:
                return self._nothing
        return self._leaf(tuple(node.here))

    def _walk(self, segments: Sequence[str]) -> Leaf:
        """Follow every way at once where a path can be read in several."""
        found: list[int] = []
        nodes = [self._root]
        for segment in segments:
            below: list[_Node] = []
            for node in nodes:
                found += node.deep
                if (named := node.named.get(segment)) is not None:
                    below.append(named)
                if node.anything is not None:
                    below.append(node.anything)
            nodes = below
            if not nodes:
                break
        for node in nodes:
            found += node.here
        return self._leaf(tuple(sorted(found)))

    def _leaf(self, numbers: tuple[int, ...]) -> Leaf:
        leaf = self._leaves.get(numbers)
        if leaf is None:
            leaf = self._leaves[numbers] = Leaf(tuple(self._routes[number] for number in numbers))
        return leaf

    def serve(self, router: Router) -> ASGIApp:
        """Return what answers in place of ``router``'s own scan; what no route fits is left to ``router.default``."""
        scan = router.middleware_stack

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await scan(scope, receive, send)
                return
            scope.setdefault("router", router)
            leaf: Leaf = scope.get(LEAF) or self.find(routed_path(scope))
            partial: tuple[BaseRoute, Scope] | None = None
            for route in leaf.routes:
                match, child = route.matches(scope)
                if match is Match.FULL:
                    break
                if match is Match.PARTIAL and partial is None:
                    partial = (route, child)
            else:
                if partial is None:
                    await router.default(scope, receive, send)
                    return
                route, child = partial
            scope.update(child)
            await route.handle(scope, receive, send)

        return dispatch
