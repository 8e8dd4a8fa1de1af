"""The stock OFREP providers of JavaScript, for servers and for browsers, against a control plane on a port."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import Issue
from tests.server.plane import Plane
from tests.server.serving import serving

HERE = Path(__file__).parent / "js"
SECONDS = 60


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and what it imports."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("js")
    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    # no script of a package runs
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm reaches no registry")
    if done.returncode:
        pytest.skip(f"npm cannot install the providers: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_stock_providers_of_javascript(
    scripts: Path, plane: Plane, admin: httpx.AsyncClient, issue: Issue
) -> None:
    key = (await issue("js", "flags:read"))["key"]
    targeting = {"if": [{"==": [{"var": "plan"}, "pro"]}, "b"]}
    for name, variants in (
        ("bool", {"a": False, "b": True}), ("text", {"a": "x", "b": "y", "c": "z"}),
        ("number", {"a": 1, "b": 2.5}), ("object", {"a": {}, "b": {"n": [1]}}),
    ):  # fmt: skip
        body = {"key": f"js-{name}", "variants": variants, "defaultVariant": "a", "targeting": targeting}
        assert (await admin.post("/system/flags", json=body)).status_code == 201
    await admin.post("/system/flags", json={"key": "js-off", "variants": {"a": True}, "state": "DISABLED"})

    async with serving(plane.app) as address:
        env = {**os.environ, "OFREP_URL": f"http://{address}", "OFREP_KEY": key}
        child = await asyncio.create_subprocess_exec(
            "node", "ofrep.mjs", cwd=scripts, env=env, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:

            async def line() -> dict[str, Any]:
                assert child.stdout is not None
                return json.loads(await asyncio.wait_for(child.stdout.readline(), SECONDS))

            server, web, free = await line(), await line(), await line()
            await admin.patch("/system/flags/js-text", json={"targeting": {"if": [True, "c"]}})
            after = await line()
            assert await asyncio.wait_for(child.wait(), SECONDS) == 0
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()

    values = {"bool": True, "text": "y", "number": 2.5, "object": {"n": [1]}}
    assert server == values | {
        "other": {"value": False, "variant": "a", "reason": "DEFAULT"},
        # this version of the provider takes no answer without a value: the caller's default holds all the same
        "off": True,
        "none": {"value": True, "reason": "ERROR", "errorCode": "FLAG_NOT_FOUND"},
        "mismatch": "TYPE_MISMATCH",
    }
    assert web == values | {"off": {"value": True, "variant": "", "reason": "DISABLED"}, "none": "FLAG_NOT_FOUND"}
    assert (free, after) == ({"free": False}, {"text": "z"})
