"""OFREP by its description: whatever is asked, every answer has the form that the protocol gives it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.conftest import Issue
from tests.server.plane import Plane

OURS = Path(__file__).parent / "protocols" / "ofrep-0.3.yaml"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SWITCH: dict[str, Any] = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
FLAGS: dict[str, dict[str, Any]] = {
    "static": SWITCH,
    "targeted": {**SWITCH, "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "on"]}},
    "split": {**SWITCH, "targeting": {"fractional": [["on", 50], ["off", 50]]}},
    "unsure": {**SWITCH, "targeting": {"var": "plan"}},
    "off": {**SWITCH, "state": "DISABLED"},
    "callers": {"variants": {"on": True}},
    "text": {"variants": {"a": "x"}, "defaultVariant": "a", "metadata": {"team": "web", "n": 1.5, "live": True}},
    "number": {"variants": {"a": 1, "b": 2.5}, "defaultVariant": "a"},
    "object": {"variants": {"a": {"n": [1, None]}}, "defaultVariant": "a"},
}


def _description() -> dict[str, Any]:
    """Return our description, or the official one without the two places where nobody can satisfy it."""
    official = os.environ.get("OFREP_OPENAPI")
    found: dict[str, Any] = yaml.safe_load(Path(official or OURS).read_text())
    if official:
        success = found["components"]["schemas"]["evaluationSuccess"]["allOf"]
        # flagd answers DEFAULT, and so does the example of the protocol's ADR 0006
        success[0]["properties"]["reason"]["enum"].append("DEFAULT")
        # 'no value' fits whatever has a value too, a whole number is also a float: never exactly one of them
        success[1]["anyOf"] = success[1].pop("oneOf")
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_answer_is_one_of_the_protocol(plane: Plane, admin: httpx.AsyncClient, issue: Issue) -> None:
    for name, members in FLAGS.items():
        assert (await admin.post("/system/flags", json={"key": f"ofrep-{name}", **members})).status_code == 201
    key = (await issue("ofrep", "flags:read"))["key"]
    stranger = (await issue("ofrep-stranger", "jobs:read"))["key"]
    client, loop = plane.client(timeout=30), asyncio.get_running_loop()
    statuses: Counter[tuple[str, int]] = Counter()
    headers = {
        "bearer": {"Authorization": f"Bearer {key}"},
        "key": {"X-API-Key": key},
        "stranger": {"X-API-Key": stranger},
        "nobody": {},
    }

    async def send(case: Case, who: str, tag: str | None) -> httpx.Response | None:
        options = case.as_transport_kwargs(base_url="http://plane")
        options.pop("cookies", None)
        given = {name: value for name, value in dict(options.pop("headers", {})).items() if name.lower() not in _OWN}
        given |= headers[who] | ({} if tag is None else {"If-None-Match": tag})
        try:
            request = client.build_request(headers=given, **options)
        except (httpx.InvalidURL, UnicodeEncodeError, TypeError, ValueError):
            return None
        # a NUL is refused before any protocol: no store could look for it
        return None if b"%00" in request.url.raw_path else await client.send(request)

    tags = ["*", '"none"']
    known = [f"ofrep-{name}" for name in FLAGS]

    def run() -> None:
        schema = schemathesis.openapi.from_dict(_description())
        for operation in (each.ok() for each in schema.get_all_operations()):
            cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

            @hypothesis.settings(
                max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )
            @hypothesis.seed(3)
            @hypothesis.given(
                case=cases,
                flag=st.sampled_from(known) | st.none(),
                plan=st.sampled_from(["pro", "on", 1, None, "…"]),
                who=st.sampled_from(["key", "bearer", "key", "bearer", "nobody", "stranger"]),
                tag=st.sampled_from([*tags, None]),
            )
            def probe(case: Case, flag: str | None, plan: Any, who: str, tag: str | None) -> None:
                if flag is not None and "key" in case.path_parameters:
                    case.path_parameters["key"] = flag
                if isinstance(case.body, dict) and isinstance(context := case.body.get("context"), dict):
                    context["plan"] = plan
                answer = asyncio.run_coroutine_threadsafe(send(case, who, tag), loop).result(60)
                if answer is None:
                    return
                statuses[case.operation.path, answer.status_code] += 1
                case.validate_response(answer, checks=CHECKS)
                assert (answer.status_code == 401) == (who == "nobody")
                assert (answer.status_code == 403) == (who == "stranger")

            probe()

    await asyncio.to_thread(run)
    for name in FLAGS:
        await admin.delete(f"/system/flags/ofrep-{name}")
    assert {status for _, status in statuses} == {200, 304, 400, 401, 403, 404}, statuses


_OWN = {"authorization", "x-api-key", "if-none-match"}
