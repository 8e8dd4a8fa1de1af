"""The fields of a query: each asks one route of the API in the caller's name."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import strawberry
from fastapi.routing import APIRoute
from pydantic import BaseModel

from valhalla.kit.http import scope_of
from valhalla.server.console.api_index import Index, fill
from valhalla.server.graphql.measuring import ASK, MOST, PAGE, Costs
from valhalla.server.graphql.modelling import Models
from valhalla.server.graphql.relations import relations


class View(NamedTuple):
    """A list of the API, and one record of it; ``one`` and ``single`` are empty where there is none."""

    path: str
    one: str = ""
    single: str = ""


VIEWS: Final[Mapping[str, View]] = {
    "sandboxes": View("/api/sandboxes", "/api/sandboxes/{}", "sandbox"),
    "holds": View("/system/holds", "/system/holds/{}", "hold"),
    "jobs": View("/system/jobs", "/system/jobs/{}", "job"),
    "alerts": View("/system/alerts", "/system/alerts/{}", "alert"),
    "errors": View("/system/errors", "/system/errors/{}", "error"),
    "logs": View("/system/logs"),
    "audit": View("/system/audit"),
    "flags": View("/system/flags", "/system/flags/{}", "flag"),
    "config": View("/system/config", "/system/config/{}", "config_entry"),
    "clients": View("/system/api-clients", "/system/api-clients/{}", "client"),
    "people": View("/system/people", "/system/people/{}", "person"),
    "deployments": View("/system/deployment", "/system/deployment/{}", "deployment"),
}
_PLAIN: Final = {"bool": bool | None, "int": int | None}


def costs() -> Costs:
    """Return what the fields ask for."""
    singles = {view.single: ASK for view in VIEWS.values() if view.single}
    return Costs(frozenset({*VIEWS, "ledger"}), {**singles, "actor": 1, "by": 1})


def query(index: Index) -> Any:
    """Return the type of all queries.

    Raises:
        LookupError: a view names a route that there is not.
    """
    models, members = Models(), dict[str, Any]()
    for name, view in VIEWS.items():
        route = _route(index, view.path)
        page = route.response_model
        item_model: Any = page.model_fields["items"].annotation.__args__[0]
        item = models.type_of(item_model, relations(item_model.__name__, models))
        needs = f"needs {scope_of(route)}"
        resolver = _asking(view.path, models.page_of(page, item), _filters(route))
        members[name] = strawberry.field(resolver=resolver, description=f"{_title(route)} ({needs})")
        if view.single:
            one = _route(index, view.one)
            model: Any = one.response_model
            made = models.type_of(model, relations(model.__name__, models))
            members[view.single] = strawberry.field(
                resolver=_finding(one.path, made), description=f"{_title(one)} ({needs})"
            )
    return strawberry.type(type("Query", (), {"__module__": __name__, **members}))


def _route(index: Index, path: str) -> APIRoute:
    route = index.find("GET", path)
    if route is None or route.response_model is None:
        raise LookupError(f"no route answers GET {path} with a model")
    return route


def _asking(path: str, page: Any, filters: Mapping[str, Any]) -> Callable[..., Awaitable[Any]]:
    async def ask(info: strawberry.Info, **asked: Any) -> Any:
        said = {name: value for name, value in asked.items() if value is not None}
        return await info.context.caller.get(path, {**said, "limit": min(said.get("limit", PAGE), MOST)})

    return _signed(ask, {"limit": int | None, "cursor": str | None, **filters}, page)


def _finding(path: str, found: Any) -> Callable[..., Awaitable[Any]]:
    async def find(info: strawberry.Info, **asked: Any) -> Any:
        return await info.context.caller.get(fill(path, asked["id"]))

    return _signed(find, {"id": str}, found, required=True)


def _signed(resolver: Any, arguments: Mapping[str, Any], returned: Any, *, required: bool = False) -> Any:
    """Give a resolver the signature that its arguments are declared by."""
    default = inspect.Parameter.empty if required else None
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=strawberry.Info),
        *(inspect.Parameter(name, kind, annotation=hint, default=default) for name, hint in arguments.items()),
    ]
    # refused fields are null, and leave the others what they are
    resolver.__signature__ = inspect.Signature(parameters, return_annotation=returned | None)
    resolver.__annotations__ = {"info": strawberry.Info, **arguments, "return": returned | None}
    return resolver


def _filters(route: APIRoute) -> dict[str, Any]:
    """Return the filters of a list as arguments."""
    found: dict[str, Any] = {}
    for field in route.dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found |= {name: _argument(info.annotation) for name, info in annotation.model_fields.items()}
        else:
            found[field.alias] = _argument(annotation)
    return {name: hint for name, hint in found.items() if name not in ("limit", "cursor", "watch", "wait")}


def _argument(annotation: Any) -> Any:
    text = str(annotation)
    if "list[" in text:
        return list[str] | None
    names = {"bool" for _ in [0] if "bool" in text} or {"int" for _ in [0] if "int" in text}
    return _PLAIN.get(next(iter(names), ""), str | None)


def _title(route: APIRoute) -> str:
    return (route.description or "").partition("\n")[0].rstrip(".")
