"""What the API can do, read from its routes: the console states no scope, parameter or member a second time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from fastapi.routing import APIRoute
from pydantic import BaseModel

from valhalla.kit.http import scope_of

_PARAMETER: Final = re.compile(r"\{[^}]*\}")
# how much of a list, not which part of it
_PAGING: Final = frozenset({"limit", "cursor", "watch", "wait", "dry_run", "reason"})


class Parameter(NamedTuple):
    """One filter of a list, and its values where they are few."""

    name: str
    options: Sequence[str]


class Index:
    """The routes by method and shape of their path."""

    def __init__(self, routes: Iterable[Any]) -> None:
        self._routes: dict[tuple[str, str], APIRoute] = {}
        for route in routes:
            if isinstance(route, APIRoute):
                for method in route.methods or ():
                    self._routes.setdefault((method, _shape(route.path)), route)

    def find(self, method: str, path: str) -> APIRoute | None:
        """Return the route of a declared path."""
        return self._routes.get((method, _shape(path)))

    def scope(self, method: str, path: str) -> str | None:
        """Return what a key needs, None where nothing is asked for.

        Raises:
            LookupError: there is no such route: a page is described wrongly.
        """
        route = self.find(method, path)
        if route is None:
            raise LookupError(f"no route answers {method} {path}")
        return scope_of(route)

    def filters(self, path: str) -> list[Parameter]:
        """Return what a list can be narrowed by."""
        return [each for each in self._query("GET", path) if each.name not in _PAGING]

    def takes(self, method: str, path: str, parameter: str) -> bool:
        """Say whether a route knows a query parameter."""
        return any(each.name == parameter for each in self._query(method, path))

    def members(self, method: str, path: str) -> Mapping[str, Any]:
        """Return the members that a route's body may have, with an example of each that has one."""
        route = self.find(method, path)
        model = None if route is None else _model(route)
        if model is None:
            return {}
        extra: Any = model.model_config.get("json_schema_extra")
        examples = cast("dict[str, Any]", extra).get("examples") if isinstance(extra, dict) else None
        whole: dict[str, Any] = dict(examples[0]) if examples else {}
        found: dict[str, Any] = {}
        for name, info in model.model_fields.items():
            shown = info.alias or name
            found[shown] = whole.get(shown, info.examples[0] if info.examples else None)
        return found

    def _query(self, method: str, path: str) -> list[Parameter]:
        route = self.find(method, path)
        if route is None:
            return []
        found: list[Parameter] = []
        for field in route.dependant.query_params:
            annotation = field.field_info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                found += [Parameter(name, _options(info.annotation)) for name, info in annotation.model_fields.items()]
            else:
                found.append(Parameter(field.alias, _options(annotation)))
        return found


def fill(path: str, key: str) -> str:
    """Put a key into the one parameter of a declared path."""
    return _PARAMETER.sub(lambda found: quote(key, safe="/" if ":path}" in found[0] else ""), path)


def _shape(path: str) -> str:
    return _PARAMETER.sub("{}", path)


def _model(route: APIRoute) -> type[BaseModel] | None:
    annotation = None if route.body_field is None else route.body_field.field_info.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _options(annotation: Any) -> Sequence[str]:
    """Return the words of a ``Literal``, also inside ``| None`` and lists; ``true`` and ``false`` of a flag."""
    if annotation is bool:
        return ("true", "false")
    words: list[str] = []
    waiting = [annotation]
    while waiting:
        one = waiting.pop(0)
        if one is bool:
            return ("true", "false")
        arguments = getattr(one, "__args__", ())
        words += [each for each in arguments if isinstance(each, str)]
        waiting += [each for each in arguments if not isinstance(each, str)]
    return words
