"""The server over the official SDK."""

from __future__ import annotations

from typing import Any, Final

from mcp.server.mcpserver import MCPServer

from valhalla.cli.mcp_server.tools import Tools
from valhalla.sdk.aclient import AsyncClient
from valhalla.version import VERSION

_SAYS: Final = (
    "Valhalla gives you disposable sandboxes of real Postgres, Valkey and NATS, and guards what cannot be undone. Make"
    " a sandbox, work in it, destroy it. What is irreversible is held until people approve it: propose it, then wait."
)


def build(client: AsyncClient) -> MCPServer[Any]:
    """Return the server; it can do what the client's key may."""
    server: MCPServer[Any] = MCPServer("valhalla", instructions=_SAYS, version=VERSION, log_level="WARNING")
    for tool in Tools(client).all():
        server.tool(structured_output=False)(tool)
    return server
