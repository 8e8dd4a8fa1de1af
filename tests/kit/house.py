"""A registry of doors with its routes, and whoever calls them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from sqlalchemy.engine import Connection

from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Conflict, Invalid, Problem
from valhalla.kit.db import Database
from valhalla.kit.http import WireModel, problem_response, set_principal, validation_problem
from valhalla.kit.ledger import Ledger
from valhalla.kit.registry import Change, Registry
from valhalla.kit.registry_routes import Face, registry_router

_numbers = itertools.count()


class Door(msgspec.Struct, frozen=True):
    """A record of the tests; ``secret`` never leaves."""

    name: str
    open: bool
    width: float = 1.0
    tags: tuple[str, ...] = ()
    note: str | None = None
    secret: str = "s3cret"


class Lock(WireModel):
    """A nested member."""

    turns: int = 1


class DoorModel(WireModel):
    """What clients send of a door."""

    open: bool = Field(examples=[True])
    width: Annotated[float, Field(gt=0, le=9)] = 1.0
    tags: list[str] = []
    note: str | None = None


def _narrow(door: Door) -> None:
    if door.note == "bad":
        raise Invalid("a note is not bad")


def _keep_main(conn: Connection, principal: Principal, changes: Sequence[Change]) -> None:
    if any(change.key == "main" and change.op == "delete" for change in changes):
        raise Conflict("the main door stays")


class House:
    """A registry with its routes, and the calls that settled its snapshot."""

    def __init__(self, db: Database, ledger: Ledger, **options: Any) -> None:
        self.registry = Registry(f"doors{next(_numbers)}", Door, ledger, validate=_narrow)
        self.settled = 0
        self.face = Face(
            registry=self.registry, prefix="/doors", tag="doors", noun="door", read="door:read", write="door:write",
            model=DoorModel, key="name", key_example="front", example={"open": True, "width": 2.0},
            filters=("open", "tags"), search=("note",), check=_keep_main, **options,
        )  # fmt: skip
        self.routes = registry_router(self.face, db, self._settle)
        self.app = FastAPI()
        self.app.include_router(self.routes)
        self.scopes = frozenset({"door:write"})

        @self.app.middleware("http")
        async def who(request: Request, call_next: Any) -> Any:
            set_principal(request.scope, Principal("ann", "team", self.scopes))
            return await call_next(request)

        async def problem(request: Request, error: Any) -> Any:
            return problem_response(error)

        async def validation(request: Request, error: Any) -> Any:
            return problem_response(validation_problem(error.errors()))

        self.app.add_exception_handler(Problem, problem)
        self.app.add_exception_handler(RequestValidationError, validation)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://house")

    async def _settle(self) -> None:
        self.settled += 1

    async def add(self, name: str, **members: Any) -> httpx.Response:
        answer = await self.http.post("/doors", json={"name": name, "open": True, **members})
        assert answer.status_code == 201, answer.text
        return answer


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
