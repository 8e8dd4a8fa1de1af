"""``POST /graphql``: one query, in the name of who asks, never a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
import strawberry
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from graphql import GraphQLError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Invalid, Problem
from valhalla.kit.http import PROBLEMS, StrictRoute, WireModel, requires, while_closed
from valhalla.kit.json import dumps
from valhalla.kit.log import correlation_id, get_logger
from valhalla.runtime import Runtime
from valhalla.server.console.api_index import Index
from valhalla.server.console.calling import Caller, Refused
from valhalla.server.console.contracts import Session
from valhalla.server.graphql import fields, measuring
from valhalla.server.graphql.modelling import config
from valhalla.server.graphql.relations import context

SCOPE: Final = "graphql"
_log = get_logger("graphql")


class QueryIn(WireModel):
    """A query, as GraphQL over HTTP has it."""

    query: str = Field(max_length=50_000, examples=["{ sandboxes(limit: 5) { items { id name status } next } }"])
    variables: dict[str, Any] | None = Field(None, examples=[{}])
    operationName: str | None = Field(None, max_length=200, examples=[None])  # noqa: N815 - the protocol's
    extensions: dict[str, Any] | None = Field(None, examples=[None])


class QueryOut(WireModel):
    """What is there, and what was refused."""

    data: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None


class _Schema(strawberry.Schema):
    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """Leave the log to ``_shown``: what is refused is no error of ours."""


class GraphView:
    """The view over one control plane; it answers once ``open`` has told it whom to ask."""

    def __init__(self, runtime: Runtime, bounds: measuring.Bounds | None = None) -> None:
        self._runtime = runtime
        self._bounds = bounds or measuring.Bounds()
        self._costs = fields.costs()

    def routers(self) -> Sequence[APIRouter]:
        """Return ``/graphql``."""
        return (router(self),)

    def open(self, routes: Sequence[Any], inner: ASGIApp) -> None:
        """Know the API's routes, and whom to ask: a gate that takes a client's id for its key.

        Raises:
            LookupError: a view names a route that there is not.
        """
        self._inner = inner
        index = Index([route for route in routes if isinstance(route, APIRoute)])
        self._schema = _Schema(fields.query(index), config=config())

    async def answer(self, asked: QueryIn, principal: Principal, address: str | None) -> Mapping[str, Any]:
        """Execute one query: every field is asked for at the API, with its scopes, limits and problems."""
        variables = asked.variables or {}
        try:
            measuring.check(measuring.read(asked.query), variables, self._costs, self._bounds)
        except Problem as problem:
            return {"data": None, "errors": [_problem(problem.detail, _known(problem))]}
        except GraphQLError as error:
            return {"data": None, "errors": [_shown(error)]}
        session = Session("", principal, "", datetime.max.replace(tzinfo=UTC), "")
        caller, of = Caller(self._inner, session, address), self._runtime
        result = await self._schema.execute(
            asked.query,
            variable_values=variables,
            context_value=context(caller, of.features.clients, of.db, of.ledger),
            operation_name=asked.operationName,
        )
        errors = [_shown(error) for error in result.errors or ()]
        return {"data": result.data, **({"errors": errors} if errors else {})}


def router(view: GraphView) -> APIRouter:
    """Return the route. There is no GET: an address that is opened must not ask in somebody's name."""
    routes = APIRouter(tags=["graphql"], responses=PROBLEMS, route_class=StrictRoute)

    @routes.post("/graphql", response_model=QueryOut)
    @while_closed("read")
    async def graphql(body: QueryIn, request: Request, principal: Annotated[Principal, requires(SCOPE)]) -> Response:
        """Answer a query. A field needs the scope of the list that it asks; a refused one is null, with its problem."""
        if not request.headers.get("content-type", "").lower().startswith("application/json"):
            raise HTTPException(415, "send the query as application/json")
        address = None if request.client is None else request.client.host
        document = await view.answer(body, principal, address)
        return Response(dumps(document), media_type="application/json", headers={"Cache-Control": "no-store"})

    return routes


def _shown(error: GraphQLError) -> dict[str, Any]:
    """Return an error with the problem that it is in its ``extensions``; what nobody foresaw says nothing."""
    cause: BaseException | None = error.original_error
    if isinstance(cause, Refused):
        return _problem(str(cause.problem.get("detail") or cause), dict(cause.problem), error)
    if isinstance(cause, Problem):
        return _problem(cause.detail, _known(cause), error)
    if cause is None or isinstance(cause, GraphQLError):
        return _problem(error.message, _known(Invalid(error.message)), error)
    _log.error("a field failed", path=".".join(map(str, error.path or ())), exc_info=cause)
    return _problem("an unexpected error", _known(Problem()), error)


def _known(problem: Problem) -> dict[str, Any]:
    return dict(problem.document(correlation_id=correlation_id()))


def _problem(message: str, document: Mapping[str, Any], error: GraphQLError | None = None) -> dict[str, Any]:
    kept = {name: value for name, value in document.items() if name not in ("type", "detail", "instance")}
    shown: dict[str, Any] = {"message": message, "extensions": kept}
    if error is not None:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations or ()]
        shown["path"] = error.path
    return msgspec.to_builtins({name: value for name, value in shown.items() if value})
