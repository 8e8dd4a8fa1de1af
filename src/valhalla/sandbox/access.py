"""What a program needs to use a sandbox: addresses, credentials, environment variables. All of it is secret."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from valhalla.sandbox.backends import Backends
from valhalla.sandbox.contracts import Sandbox


def connection(sandbox: Sandbox, backends: Backends) -> dict[str, Any]:
    """Return addresses and credentials by slice, and ``env``: the variables that ``valhalla sandbox env`` prints."""
    slices = backends.connection(sandbox.names, expires_at=sandbox.expires_at)
    return {**slices, "env": environment(sandbox, slices)}


def environment(sandbox: Sandbox, slices: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the environment variables, except ``NATS_CREDS``, which is the path of a file that the client writes."""
    variables = {
        "SANDBOX_ID": sandbox.id,
        "SANDBOX_NAME": sandbox.name,
        "SANDBOX_ROUTES": ",".join(str(route) for route in sandbox.routes),
    }
    if "sqlite" in slices:
        # a program that knows one database finds it under the usual name, unless there is a Postgres
        variables["DATABASE_URL"] = slices["sqlite"]["url"]
        variables["SQLITE_PATH"] = slices["sqlite"]["path"]
    if "postgres" in slices:
        variables["SANDBOX_SCHEMA"] = sandbox.names.schema
        variables["DATABASE_URL"] = slices["postgres"]["url"]
    if "valkey" in slices:
        variables["REDIS_URL"] = slices["valkey"]["url"]
        variables["VALKEY_PREFIX"] = slices["valkey"]["prefix"]
    if "nats" in slices:
        variables["NATS_URL"] = slices["nats"]["url"]
        variables["NATS_PREFIX"] = slices["nats"]["prefix"]
    return variables


@asynccontextmanager
async def creds_file(backends: Backends, sandbox: Sandbox) -> AsyncGenerator[dict[str, str]]:
    """Lend the full environment with ``NATS_CREDS`` naming a private file that is gone afterwards."""
    slices = backends.connection(sandbox.names, expires_at=sandbox.expires_at)
    if "nats" not in slices:
        yield environment(sandbox, slices)
        return
    descriptor, path = tempfile.mkstemp(prefix="valhalla-", suffix=".creds")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(slices["nats"]["creds"])
        yield environment(sandbox, slices) | {"NATS_CREDS": path}
    finally:
        os.unlink(path)  # noqa: PTH108 - one system call; the file is ours alone
