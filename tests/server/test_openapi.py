"""The description of the API: valid, complete, and true under random input."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import httpx
import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck
from schemathesis import Case
from schemathesis.specs.openapi import checks
from tests.sdk.covering import sent_by, sent_by_async, uncovered
from tests.server.conftest import Issue, Make
from tests.server.plane import Plane

import valhalla
from valhalla.features.operations.clients.contracts import SCOPES
from valhalla.gate.rules import is_public
from valhalla.kit.http import StrictRoute, scope_of
from valhalla.sandbox.api import router as sandbox_router


@pytest.fixture(scope="module")
async def description(plane: Plane) -> dict[str, Any]:
    answer = await plane.client().get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, each) for path, item in description["paths"].items() for method, each in item.items()]


def test_it_is_openapi_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    for schema in description["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for path, _, operation in operations(description):
        assert operation["responses"], path
        assert operation.get("description") or operation.get("summary")
    schemathesis.openapi.from_dict(description).validate()


def test_every_answer_is_described(description: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/Problem"}
    assert description["components"]["schemas"]["Problem"]["examples"]
    assert "HTTPValidationError" not in description["components"]["schemas"]
    for path, method, operation in operations(description):
        default = operation["responses"]["default"]
        assert default["content"]["application/problem+json"]["schema"] == problem, (path, method)
        for response in operation["responses"].values():
            assert "X-Correlation-ID" in response["headers"], (path, method)
    # a path that no route has is refused in our words, wherever it begins
    found = description["paths"]["/v1/allowlists/check/{target}"]["get"]["responses"]["404"]["content"]
    assert found.keys() == {"application/json", "application/problem+json"}
    # nothing changed in time, for who follows a registry
    assert "304" in description["paths"]["/system/config"]["get"]["responses"]


async def test_a_sandbox_is_described_as_it_is_answered(
    description: dict[str, Any], team_a: httpx.AsyncClient, make: Make
) -> None:
    """By the names of its members on the wire, where they have others in Python."""
    made = await make()
    for path in ("/api/sandboxes/{reference}", "/api/sandboxes/{reference}/status"):
        answered = (await team_a.get(path.format(reference=made["id"]))).json()
        content = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        named = description["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert set(answered) == set(named["properties"])


def test_every_body_has_an_example(description: dict[str, Any]) -> None:
    bodies = 0
    for path, _, operation in operations(description):
        if "requestBody" in operation:
            bodies += 1
            content = operation["requestBody"]["content"]["application/json"]
            if "example" in content:
                # a protocol of others
                continue
            name = content["schema"]["$ref"].rpartition("/")[2]
            schema = description["components"]["schemas"][name]
            required = [schema["properties"][member] for member in schema.get("required", [])]
            shown = [bool(member.get("examples")) for member in required or schema["properties"].values()]
            assert schema.get("examples") or (all(shown) if required else any(shown)), path
            assert schema["additionalProperties"] is False
    assert bodies >= 4


def _scopeless(routes: list[Any]) -> list[str]:
    return [
        route.path
        for route in routes
        if isinstance(route, APIRoute) and not is_public(route.path) and scope_of(route) is None
    ]


# protocols of others, whose stock clients the tests of these routes use; and what a browser opens
_FOREIGN = ("/api/v2/", "/ofrep/", "/v1/", "/downloads/", "/ingress/")


async def test_the_clients_have_a_method_for_each_operation(description: dict[str, Any]) -> None:
    ours = {path: item for path, item in description["paths"].items() if not path.startswith(_FOREIGN)}
    assert len(ours) > 200
    help_ = "write a builder and a Call for it (as in sdk/traces.py), or name its registry in sdk/registries.py"
    assert uncovered(ours, sent_by(valhalla.Client("http://plane", "key"))) == [], help_
    assert uncovered(ours, await sent_by_async(valhalla.AsyncClient("http://plane", "key"))) == [], help_
    # or nothing would ever be found to be missing
    assert uncovered({"/system/nothing": {"get": {}}, "/system/{x}/y/z": {"get": {}}}, {("GET", "/system/jobs")}) == [
        "GET /system/nothing", "GET /system/{x}/y/z",
    ]  # fmt: skip


def test_every_route_declares_a_scope(plane: Plane, description: dict[str, Any]) -> None:
    app: Any = plane.app
    served = _routes(app._app._app)
    assert {route.path_format for route in served} >= set(description["paths"])
    assert _scopeless(served) == []
    assert {scope_of(route) for route in served if not is_public(route.path)} <= SCOPES
    assert all(isinstance(route, StrictRoute) for route in served)
    for path, _, operation in operations(description):
        if is_public(path):
            assert operation["security"] == []
        else:
            [requirement] = operation["security"]
            assert set(requirement["key"]) <= SCOPES
            assert requirement["key"]


def _routes(app: Any) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in app.routes:
        router = getattr(route, "original_router", None)
        found += [each for each in (router.routes if router is not None else [route]) if isinstance(each, APIRoute)]
    return found


def test_a_route_without_a_scope_would_be_found() -> None:
    routes: Any = sandbox_router(None, None)  # type: ignore[arg-type]

    @routes.get("/{reference}/open")
    async def forgotten(reference: str) -> None: ...

    assert _scopeless(routes.routes) == ["/api/sandboxes/{reference}/open"]


# each of them is a test of its own: none takes too long, and processes share them
_PARTS = 4
_CHECKS: list[Any] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


async def _fuzz(
    plane: Plane,
    description: dict[str, Any],
    key: str,
    *,
    examples: int,
    seed: int = 7,
    most: int | None = None,
    part: int | None = None,
) -> dict[int, int]:
    """Send what hypothesis makes of each operation, or of ``most`` by lot, or of one of the parts.

    No answer may be a 500, have a status or type of content that is not described, or another form than is.
    """
    client = plane.client(key, timeout=30)
    loop = asyncio.get_running_loop()
    statuses: dict[int, int] = {}
    schema = schemathesis.openapi.from_dict(description)

    async def send(case: Case) -> httpx.Response:
        options = case.as_transport_kwargs(base_url="http://plane")
        options.pop("cookies", None)
        headers = dict(options.pop("headers", {}))
        try:
            request = client.build_request(headers=headers, **options)
        except (httpx.InvalidURL, UnicodeEncodeError, TypeError, ValueError):
            return httpx.Response(0)
        request.headers["authorization"] = f"Bearer {key}"
        return await client.send(request)

    def run() -> None:
        found = [each.ok() for each in schema.get_all_operations()]
        if part is not None:
            found = found[part::_PARTS]
        for operation in found if most is None else random.Random(seed).sample(found, min(most, len(found))):

            @hypothesis.settings(
                max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )
            @hypothesis.seed(seed)
            @hypothesis.given(case=operation.as_strategy())
            def probe(case: Case) -> None:
                # what would change is told, and the plane stays as the other tests need it
                if any(each.get("name") == "dry_run" for each in case.operation.definition.raw.get("parameters", ())):
                    case.query = {**dict(case.query or {}), "dry_run": "true"}
                # a stream never ends: a page of the same is asked for
                if any(each.get("name") == "follow" for each in case.operation.definition.raw.get("parameters", ())):
                    case.query = {**dict(case.query or {}), "follow": "false"}
                answer = asyncio.run_coroutine_threadsafe(send(case), loop).result(60)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code not in {500, 501}, (case.method, case.formatted_path, case.body, answer.text)
                if answer.status_code:
                    case.validate_response(answer, checks=_CHECKS)

            try:
                probe()
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - every operation is heard
                why = {f"{each!s:.900}" for each in _leaves(error)}
                broken.append(f"{operation.method.upper()} {operation.path}: {' | '.join(sorted(why))}")

    broken: list[str] = []
    await asyncio.to_thread(run)
    if broken:
        pytest.fail(f"seed {seed}:\n" + "\n".join(broken), pytrace=False)
    return statuses


async def test_no_input_makes_a_500(plane: Plane, description: dict[str, Any], issue: Issue) -> None:
    key = (await issue("http-fuzz", "sandbox:write", "audit:read"))["key"]

    # other operations in every run: what is paid does not grow with every route that somebody adds
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
    statuses = await _fuzz(plane, description, key, examples=3, seed=seed, most=15)

    assert sum(statuses.values()) >= 15, seed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(_PARTS))
async def test_no_input_makes_a_500_anywhere(
    plane: Plane, description: dict[str, Any], issue: Issue, part: int
) -> None:
    key = (await issue("admin", "admin"))["key"]
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))

    statuses = await _fuzz(plane, description, key, examples=20, seed=seed, part=part)

    assert sum(statuses.values()) > 500, seed
    # which of them answer what depends on the lot
    assert 422 in statuses, (seed, statuses)
