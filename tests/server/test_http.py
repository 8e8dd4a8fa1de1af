"""What holds for every path: correlation, methods, sizes, unknown paths, the pages of problems; also over a socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from tests.server.plane import Plane, refused

from valhalla.server.problem_kinds import problem_kinds

ID = re.compile(r"[a-z][a-z0-9]{15}")
LIMIT = 1_048_576


@pytest.fixture(scope="module")
async def url(plane: Plane) -> AsyncIterator[str]:
    """The same application behind a real socket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(plane.app, http="httptools", lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.mark.parametrize("value", ["deploy:42", "a" * 128, "0", "A.b_c:d@e/f+g=h-i"])
async def test_a_good_correlation_id_is_kept(team_a: httpx.AsyncClient, value: str) -> None:
    for path in ("/live", "/api/sandboxes", "/api/sandboxes/nobody", "/nothing"):
        assert (await team_a.get(path, headers={"X-Correlation-ID": value})).headers["x-correlation-id"] == value


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "a" * 129, "x" * 3000, "a b", "a\r\nX-Injected: 1", "a\nb", "a;b", 'a"b', "$(touch x)"),
        *("\xe9", "a\x00", "a\x1b[0m"),
    ],
)
async def test_a_bad_correlation_id_is_replaced(plane: Plane, team_a: httpx.AsyncClient, value: str) -> None:
    for client, path in ((team_a, "/api/sandboxes"), (team_a, "/nothing"), (plane.client(), "/api/sandboxes")):
        answer = await client.get(path, headers={"X-Correlation-ID": value.encode("latin-1")})  # type: ignore[dict-item]
        assert ID.fullmatch(answer.headers["x-correlation-id"])
        assert "x-injected" not in answer.headers


async def test_every_kind_of_answer_has_one(
    plane: Plane, team_a: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients check each answer; here is one of every status."""
    monkeypatch.setattr(plane.runtime.sandboxes, "counts", None)
    admin = plane.client(await plane.admin_key())
    answers = [
        await team_a.get("/live"),
        await plane.client().get("/api/sandboxes"),
        await team_a.get("/system/api-clients"),
        await team_a.get("/nothing"),
        await team_a.put("/live"),
        await team_a.post("/api/sandboxes", content=b"x" * (LIMIT + 1)),
        await team_a.post("/api/sandboxes", content=b"x"),
        await admin.get("/system/info"),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 403, 404, 405, 413, 422, 500]
    assert len({answer.headers["x-correlation-id"] for answer in answers}) == len(answers)
    assert "Traceback" not in answers[-1].text
    assert "NoneType" not in answers[-1].text


async def test_an_unknown_path_is_told_only_to_those_with_a_key(plane: Plane, team_a: httpx.AsyncClient) -> None:
    nobody = plane.client()
    for path in (
        "/nothing",
        "/api",
        "/api/sandboxes/",
        "/system/",
        "/docs/oauth2-redirect",
        "/redoc",
        "//api/sandboxes",
    ):
        refused(await nobody.get(path), 401, "unauthenticated")
        refused(await team_a.get(path), 404, "not-found")
    for path in ("/api/sandboxes/", "/system/api-clients/"):
        refused(await team_a.post(path, json={}), 404, "not-found")


async def test_methods(plane: Plane, team_a: httpx.AsyncClient) -> None:
    assert (await team_a.options("/api/sandboxes")).headers["allow"] == "GET, HEAD, POST"
    allowed = {"/api/sandboxes": "GET, HEAD, POST", "/api/sandboxes/x": "DELETE, GET, HEAD", "/live": "GET, HEAD"}
    for path, allow in allowed.items():
        for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "BREW"):
            answer = await team_a.request(method, path)
            refused(answer, 405, "method-not-allowed")
            assert answer.headers["allow"] == allow
    refused(await plane.client().options("/api/sandboxes"), 401, "unauthenticated")


async def test_head_is_get_without_its_body(plane: Plane, team_a: httpx.AsyncClient, url: str) -> None:
    for path, status in (("/live", 200), ("/api/sandboxes", 200), ("/api/sandboxes/nobody", 404), ("/nothing", 404)):
        get, head = await team_a.get(path), await team_a.head(path)
        assert (head.status_code, head.content) == (status, b"")
        # the correlation id has a length of its own in both
        assert head.headers["content-length"] == get.headers["content-length"]
    refused(await team_a.get("/api/sandboxes/x/extend"), 405, "method-not-allowed")
    assert (await team_a.head("/api/sandboxes/x/extend")).status_code == 405
    async with httpx.AsyncClient(base_url=url) as client:
        for _ in range(2):
            answer = await client.head("/live")
            assert (answer.status_code, answer.content) == (200, b"")


async def test_the_root_leads_to_the_documentation(plane: Plane) -> None:
    nobody = plane.client()
    answer = await nobody.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "docs")
    assert "swagger" in (await nobody.get("/docs")).text


async def test_a_body_over_the_limit(plane: Plane, team_a: httpx.AsyncClient, url: str) -> None:
    before = await plane.rows()

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"description": "'
        for _ in range(17):
            yield b"x" * 65_536
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    refused(await team_a.post("/api/sandboxes", content=b" " * (LIMIT + 1), headers=headers), 413, "payload-too-large")
    refused(await team_a.post("/api/sandboxes", content=pieces(), headers=headers), 413, "payload-too-large")
    # a length that lies, or none at all
    for length in ("1", "x", "-1", "9" * 30):
        lying = headers | {"Content-Length": length}
        refused(await team_a.post("/api/sandboxes", content=pieces(), headers=lying), 413, "payload-too-large")
    refused(await team_a.post("/api/sandboxes", content=b" " * LIMIT, headers=headers), 422, "invalid-request")
    async with httpx.AsyncClient(base_url=url, headers=dict(team_a.headers)) as client:
        refused(
            await client.post("/api/sandboxes", content=b" " * (LIMIT + 1), headers=headers), 413, "payload-too-large"
        )
        refused(await client.post("/api/sandboxes", content=pieces(), headers=headers), 413, "payload-too-large")
        assert (await client.get("/api/sandboxes")).status_code == 200
    refused(await plane.client().post("/api/sandboxes", content=b" " * (LIMIT + 1)), 401, "unauthenticated")
    assert await plane.rows() == before


async def test_a_sandbox_over_a_socket(team_a: httpx.AsyncClient, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": team_a.headers["authorization"]}) as client:
        made = await client.post("/api/sandboxes", json={"template": "empty"})
        assert (made.status_code, made.http_version) == (201, "HTTP/1.1")
        assert (await client.get(made.headers["location"])).json()["id"] == made.json()["id"]
        assert (await client.delete(made.headers["location"])).status_code in {200, 202}
        unknown = await client.get("/api/sandboxes/a%00b")
        refused(unknown, 422, "invalid-request")
        assert ID.fullmatch(unknown.headers["x-correlation-id"])


async def test_every_code_has_its_page(plane: Plane) -> None:
    nobody = plane.client()
    for code, kind in problem_kinds().items():
        page = (await nobody.get(f"/problems/{code}")).json()
        assert (page["code"], page["status"], page["title"]) == (code, kind.status, kind.title)
        assert page["meaning"]
        assert page["help"]
    refused(await nobody.get("/problems/nothing"), 404, "not-found")
    refused(await nobody.get("/problems/" + "x" * 65), 422, "invalid-request")


async def test_people_get_a_page_without_scripts(plane: Plane) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    page = await plane.client().get("/problems/not-found", headers=browser)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<h1>There is no such thing</h1>" in page.text
    assert "<script" not in page.text
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", "text/html;q=0", "text/html;q=x"):
        answer = await plane.client().get("/problems/not-found", headers={"Accept": accept})
        assert answer.json()["code"] == "not-found", accept
    refused(await plane.client().get("/problems/nothing", headers=browser), 404, "not-found")


async def test_a_parameter_that_no_route_has(plane: Plane, team_a: httpx.AsyncClient) -> None:
    problem = refused(await team_a.get("/api/sandboxes", params={"stauts": "running"}), 422, "invalid-request")
    assert problem["errors"] == [{"in": "query", "pointer": "/stauts", "detail": "this parameter is unknown"}]
    assert "status" in problem["help"]
    hostile = refused(await team_a.get("/api/sandboxes", params={"<script>": "1"}), 422, "invalid-request")
    assert "script" not in json.dumps(hostile)
    assert (await plane.client().get("/live?x=1")).status_code == 200


def test_the_server_knows_the_problems_of_the_whole_code_base() -> None:
    program = """
import importlib, json, pkgutil
import valhalla.server.app
from valhalla.server.problem_kinds import problem_kinds
served = set(problem_kinds())
import valhalla
for module in pkgutil.walk_packages(valhalla.__path__, "valhalla."):
    if not module.name.endswith("__main__") and ".migrations." not in module.name:
        importlib.import_module(module.name)
from valhalla.kernel.problems import Problem
kinds, seen = [Problem], []
while kinds:
    kind = kinds.pop()
    kinds += kind.__subclasses__()
    # what is found without a server has no page on one
    away = kind.__module__.startswith(("valhalla.sdk.", "valhalla.cli."))
    if "code" in vars(kind) and not away:
        seen.append((kind.code, kind.__qualname__))
print(json.dumps([sorted(served), sorted(code for code, _ in set(seen))]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    served, defined = json.loads(done.stdout)
    assert len(defined) > 15
    assert len(defined) == len(set(defined)), "a code stands for one problem"
    assert served == defined
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in defined)
