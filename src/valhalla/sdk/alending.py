"""``lending`` on an event loop, where the end of a block may be a cancellation that comes more than once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from valhalla.sdk import calls
from valhalla.sdk.errors import ApiProblem, ValhallaError
from valhalla.sdk.lending import LOOK_EVERY, PATIENCE, UNDER_WAY, in_doubt, left
from valhalla.sdk.models import Sandbox
from valhalla.sdk.opened import OpenSandbox
from valhalla.sdk.wire import Request

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient

T = TypeVar("T")


@asynccontextmanager
async def lend(client: AsyncClient, request: Request[Sandbox]) -> AsyncGenerator[OpenSandbox]:
    """Make a sandbox, lend it to the block, and destroy it.

    Raises:
        ApiProblem: it was refused, or could not be destroyed and the block itself raised nothing.
        Unreachable: the control plane does not answer.
    """
    async with _made(client, request) as opened:
        try:
            yield opened
        finally:
            opened.forget()


@asynccontextmanager
async def _made(client: AsyncClient, request: Request[Sandbox]) -> AsyncGenerator[OpenSandbox]:
    sandbox = await make(client, request)
    try:
        connection = sandbox.connection or await client.connection(sandbox.id)
        yield OpenSandbox(sandbox, connection)
    except BaseException as error:
        try:
            await to_the_end(end(client, sandbox.id))
        except ValhallaError as second:
            error.add_note(left(sandbox, second))
        raise
    else:
        await to_the_end(end(client, sandbox.id))


async def make(client: AsyncClient, request: Request[Sandbox]) -> Sandbox:
    """Make a sandbox. Whatever is raised, none is left.

    Raises:
        ApiProblem: it was refused.
        Unreachable: the control plane does not answer.
    """
    try:
        return await client.send(request)
    except BaseException as error:
        if in_doubt(error):
            await to_the_end(_take_back(client, request))
        raise


async def _take_back(client: AsyncClient, request: Request[Sandbox]) -> None:
    """Destroy what a request without an answer has made: its idempotency key finds it."""
    again = replace(request, timeout=PATIENCE)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            await end(client, (await client.send(again)).id)
        except ApiProblem as problem:
            if problem.code != UNDER_WAY:
                return
            await asyncio.sleep(LOOK_EVERY)
        except ValhallaError:
            return
        else:
            return


async def end(client: AsyncClient, sandbox_id: str) -> None:
    """Destroy it; that somebody else has done so is fine.

    Raises:
        ApiProblem: it was refused.
        Unreachable: the control plane does not answer.
    """
    try:
        await client.send(calls.destroy(sandbox_id))
    except ApiProblem as problem:
        if problem.status != 404:
            raise


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run something short whatever happens to the caller; a cancellation meanwhile is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # unlike awaiting the task, this does not pass a cancellation on to it
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
