"""The tools: each is one or a few requests of the API with the key that the server was started with.

An agent can do what that key may; what is irreversible is held for people, who see it in the console.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mcp.server.mcpserver.exceptions import ToolError

from valhalla.sdk import calls
from valhalla.sdk.aclient import AsyncClient
from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.further_calls import tables
from valhalla.sdk.models import Draft
from valhalla.sdk.wire import Request, params, segment

Document = dict[str, Any]
_DESTROYED: Final = ("id", "name", "owner", "status", "template", "slices", "routes", "expires_at")
_LOOK_EVERY: Final = 1.0


class Tools:
    """What the server offers; docstrings are what agents read."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def all(self) -> Sequence[Callable[..., Awaitable[Any]]]:
        """Return every tool."""
        return (
            self.create_sandbox,
            self.list_sandboxes,
            self.sandbox_connection,
            self.run_sql,
            self.destroy_sandbox,
            self.list_actions,
            self.propose_action,
            self.wait_for_approval,
            self.search_logs,
            self.read_trace,
        )

    async def create_sandbox(
        self, name: str | None = None, template: str = "empty", ttl: str = "1h", dry_run: bool = False
    ) -> Document:
        """Make a disposable sandbox (Postgres schema, Valkey prefix, NATS account) that ends by itself after `ttl`.

        With dry_run nothing is made and the answer says what would be.
        """
        draft = Draft(name=name, template=template, ttl=ttl)
        if dry_run:
            return await self._ask(calls.plan(draft))
        made = await self._ask(calls.create(draft))
        # credentials are for sandbox_connection alone: they are not needed to run SQL here
        return {member: value for member, value in made.items() if member != "connection"}

    async def list_sandboxes(self) -> list[Document]:
        """List the sandboxes of this key's owner."""
        return (await self._ask(calls.list_sandboxes(limit=100)))["items"]

    async def sandbox_connection(self, sandbox: str) -> Document:
        """Return addresses and credentials of a sandbox, by its id or name. They end with it."""
        return await self._ask(calls.connection(sandbox))

    async def run_sql(self, sandbox: str, sql: str) -> Document:
        """Run one SQL statement in a sandbox's Postgres schema, committed.

        It may take 30 seconds. At most 200 rows come back, and 4000 characters of a cell; `cut` says what was cut. A
        SELECT computes no rows after them, anything else is done to the end.
        """
        import psycopg

        from valhalla.cli.mcp_server.statements import SECONDS, run

        access = await self._ask(calls.connection(sandbox))
        if not access.get("postgres"):
            raise ToolError("this sandbox has no Postgres slice")
        try:
            return await run(access["postgres"]["url"], sql)
        except psycopg.errors.QueryCanceled as error:
            raise ToolError(f"Postgres: {str(error).strip()}. A statement may take {SECONDS} seconds here.") from error
        except psycopg.Error as error:
            raise ToolError(f"Postgres: {_said(error)}") from error

    async def destroy_sandbox(self, sandbox: str, dry_run: bool = False) -> Document:
        """Destroy a sandbox and everything in it.

        With dry_run nothing is destroyed and the answer says what would be.
        """
        if not dry_run:
            return await self._ask(calls.destroy(sandbox, wait=10))
        found = await self._ask(calls.get(sandbox))
        if found["status"] in ("destroying", "destroyed"):
            return {"dry_run": True, "would": {}, "note": f"{found['name']} is {found['status']} already."}
        would = {member: found.get(member) for member in _DESTROYED}
        # of one that does not run nobody can look into the schema
        if found["status"] == "running" and "postgres" in found.get("slices", ()):
            would["tables"] = await self._ask(tables(sandbox))
        return {"dry_run": True, "would": would}

    async def list_actions(self) -> list[Document]:
        """List the admin actions that can be proposed, with the JSON schemas of their arguments."""
        return (await self._ask(Request("GET", "/system/admin/actions", dict)))["items"]

    async def propose_action(
        self, name: str, arguments: dict[str, Any], reason: str, dry_run: bool = False
    ) -> Document:
        """Propose an admin action. What is irreversible is held until people approve it: `hold` names it then.

        With dry_run the answer says what it would change, and nothing happens.
        """
        body = {"arguments": arguments, "reason": reason}
        path = f"/system/admin/actions/{segment(name)}"
        return await self._ask(Request("POST", path, dict, params=params(dry_run=dry_run), body=body))

    async def wait_for_approval(self, hold: str, timeout: float = 60.0) -> Document:  # noqa: ASYNC109 - a tool's words
        """Wait until people have decided on a hold and the action has ended, at most `timeout` seconds (300).

        `state` is held, approved, denied, succeeded, failed, expired or indeterminate. Ask again while it is held.
        """
        until = time.monotonic() + min(timeout, 300.0)
        while True:
            found = await self._ask(Request("GET", f"/system/holds/{segment(hold)}", dict))
            if found["state"] not in ("held", "approved", "executing") or time.monotonic() >= until:
                return found
            await asyncio.sleep(_LOOK_EVERY)

    async def search_logs(
        self, text: str | None = None, level: str | None = None, correlation_id: str | None = None, limit: int = 50
    ) -> list[Document]:
        """Search log lines, newest first. `level` is the least: debug, info, warning, error or critical."""
        query = params(text=text, level=level, correlation_id=correlation_id, limit=limit)
        return (await self._ask(Request("GET", "/system/logs", dict, params=query)))["items"]

    async def read_trace(self, trace_id: str) -> Document:
        """Return the spans of one trace as a tree; log lines name their trace_id."""
        return await self._ask(Request("GET", f"/system/traces/{segment(trace_id)}", dict))

    async def _ask(self, request: Request[Any]) -> Any:
        try:
            return await self._client.document(request)
        except ApiProblem as problem:
            # the agent reads what a person would
            raise ToolError(f"{problem.code}: {problem.detail} {problem.help}".strip()) from problem
        except Unreachable as error:
            raise ToolError(str(error)) from error


def _said(error: Exception) -> str:
    text = str(error).strip()
    # Postgres speaks of a prepared statement, of which the agent knows nothing
    return "one statement at a time" if "multiple commands" in text else text
