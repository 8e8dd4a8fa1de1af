"""The tree of segments finds what a scan of all routes would."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Mount, Route, Router, WebSocketRoute
from tests.gate.driving import ask, scope

from valhalla.gate.switchboard import Overlap, Switchboard

SEGMENTS = ("a", "b", "me", "{x}", "{y:int}", "{rest:path}", "v{n}.json", "")


async def nothing(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("x")


def route(path: str, *methods: str) -> Route:
    return Route(path, nothing, methods=list(methods) or ["GET"])


def valid(paths: list[str]) -> list[Route]:
    """Routes of those paths that the switchboard takes."""
    routes: list[Route] = []
    for path in paths:
        try:
            made = route(path)
            Switchboard([*routes, made])
        except (Overlap, ValueError, AssertionError):
            continue
        routes.append(made)
    return routes


templates = st.lists(
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    max_size=8,
)
asked = st.lists(st.sampled_from(("a", "b", "me", "7", "v1.json", "", "é")), min_size=1, max_size=5)


@given(templates, asked)
def test_it_is_the_scan(paths: list[str], parts: list[str]) -> None:
    routes = valid(paths)
    path = "/" + "/".join(parts)
    matching = [each for each in routes if each.matches(scope(path))[0] is not Match.NONE]

    found = Switchboard(routes).find(path).routes

    assert [each for each in found if each.matches(scope(path))[0] is not Match.NONE] == matching


def test_the_last_of_many_has_as_few_candidates_as_the_first() -> None:
    board = Switchboard([route(f"/area{n}/{{x}}/things{m}") for n in range(20) for m in range(10)])
    assert [len(board.find(path).routes) for path in ("/area0/1/things0", "/area19/1/things9")] == [1, 1]


@pytest.mark.parametrize(
    "routes",
    [
        [route("/a"), route("/a")],
        [route("/a/{x}"), route("/a/{y}")],
        [route("/a/{x}", "GET", "POST"), route("/a/{x:int}", "POST")],
    ],
    ids=("same", "shape", "method"),
)
def test_two_routes_for_one_request_stop_the_boot(routes: list[Route]) -> None:
    with pytest.raises(Overlap, match="/a"):
        Switchboard(routes)


def test_an_included_router_must_be_given_route_by_route() -> None:
    app, inner = FastAPI(), APIRouter()
    inner.add_api_route("/x", nothing)
    app.include_router(inner)
    with pytest.raises(Overlap):
        Switchboard(app.routes)


def served(*routes: Any) -> Starlette:
    app = Starlette(routes=list(routes))
    app.router.middleware_stack = Switchboard(app.routes).serve(app.router)
    return app


async def test_it_answers_in_place_of_the_router() -> None:
    async def who(request: Any) -> PlainTextResponse:
        return PlainTextResponse(str(dict(request.path_params)))

    app = served(
        Route("/users/me", who),
        Route("/users/{id}", who, methods=["GET"]),
        Route("/users/{id}", who, methods=["DELETE"]),
        Mount("/files", app=Router([Route("/{name:path}", who)])),
    )
    for path, body in (
        ("/users/me", b"{}"),
        ("/users/7", b"{'id': '7'}"),
        ("/files/a/b", b"{'name': 'a/b'}"),
    ):
        assert (await ask(app, scope(path))).body == body, path
    assert (await ask(app, scope("/users/7", "DELETE"))).status == 200
    assert (await ask(app, scope("/users/7", "POST"))).status == 405
    assert (await ask(app, scope("/nothing"))).status == 404
    assert (await ask(app, scope("/below/users/me", root_path="/below"))).body == b"{}"


def test_templates_and_methods() -> None:
    board = Switchboard(
        [route("/u/me"), route("/u/{id}"), route("/u/{id}", "DELETE"), WebSocketRoute("/u/{id}", nothing)]
    )
    assert board.find("/u/me").template("GET", "/u/me") == "/u/me"
    assert board.find("/u/me").template("DELETE", "/u/me") == "/u/{id}"
    assert board.find("/u/7").template("PUT", "/u/7") == "/u/{id}"
    assert board.find("/x").template("GET", "/x") == ""
    assert board.find("/u/me").methods("/u/me") == {"GET", "HEAD", "DELETE"}


def test_the_framework_s_description_is_that_of_included_routers() -> None:
    router = APIRouter(prefix="/p", tags=["t"], responses={404: {"description": "none"}})

    @router.get("/{x}")
    async def one(x: int) -> dict[str, int]:
        return {"x": x}

    flat, nested = FastAPI(routes=router.routes), FastAPI()
    nested.include_router(router)
    assert flat.openapi() == nested.openapi()
