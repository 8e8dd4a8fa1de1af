"""``valhalla mcp``."""

from __future__ import annotations

import importlib.util

import click

from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options


@click.command("mcp")
@shared_options
@pass_invocation
def command(invocation: Invocation) -> None:
    """Serve tools for agents over the Model Context Protocol, on standard input and output.

    They can do what your key may: make a key of its own for an agent.

    \b
    Example:
      VALHALLA_API_KEY=vh_… valhalla mcp
    """
    if importlib.util.find_spec("mcp") is None:
        raise Refusal(
            "not-installed", "the SDK of the Model Context Protocol is missing", "pip install 'valhalla[mcp]'"
        )
    import asyncio

    from valhalla.cli.mcp_server.server import build
    from valhalla.sdk.aclient import AsyncClient

    async def serve() -> None:
        async with AsyncClient(invocation.url, invocation.api_key, invocation.data_dir) as client:
            await build(client).run_stdio_async()

    asyncio.run(serve())
