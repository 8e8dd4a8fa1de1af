"""A sandbox for the length of a block: made, lent, destroyed, whatever ends the block.

The block's own exception always comes first. What could not be destroyed is told in a note on it, and ends by itself.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from valhalla.sdk import calls
from valhalla.sdk.errors import ApiProblem, ValhallaError
from valhalla.sdk.models import Sandbox
from valhalla.sdk.opened import OpenSandbox
from valhalla.sdk.wire import Request

if TYPE_CHECKING:
    from valhalla.sdk.client import Client

# cleaning up on the way out: long enough for a busy control plane, short enough for somebody at Ctrl-C
PATIENCE: Final = 5.0
LOOK_EVERY: Final = 0.1
UNDER_WAY: Final = "idempotency-in-progress"


@contextmanager
def lend(client: Client, request: Request[Sandbox]) -> Generator[OpenSandbox]:
    """Make a sandbox, lend it to the block, and destroy it.

    Raises:
        ApiProblem: it was refused, or could not be destroyed and the block itself raised nothing.
        Unreachable: the control plane does not answer.
    """
    with _made(client, request) as opened:
        try:
            yield opened
        finally:
            opened.forget()


@contextmanager
def _made(client: Client, request: Request[Sandbox]) -> Generator[OpenSandbox]:
    sandbox = make(client, request)
    try:
        connection = sandbox.connection or client.connection(sandbox.id)
        yield OpenSandbox(sandbox, connection)
    except BaseException as error:
        try:
            end(client, sandbox.id)
        except ValhallaError as second:
            error.add_note(left(sandbox, second))
        raise
    else:
        end(client, sandbox.id)


def make(client: Client, request: Request[Sandbox]) -> Sandbox:
    """Make a sandbox. Whatever is raised, none is left.

    Raises:
        ApiProblem: it was refused.
        Unreachable: the control plane does not answer.
    """
    try:
        return client.send(request)
    except BaseException as error:
        if in_doubt(error):
            _take_back(client, request)
        raise


def _take_back(client: Client, request: Request[Sandbox]) -> None:
    """Destroy what a request without an answer has made: its idempotency key finds it."""
    again = replace(request, timeout=PATIENCE)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            end(client, client.send(again).id)
        except ApiProblem as problem:
            if problem.code != UNDER_WAY:
                return
            time.sleep(LOOK_EVERY)
        except ValhallaError:
            return
        else:
            return


def end(client: Client, sandbox_id: str) -> None:
    """Destroy it; that somebody else has done so is fine.

    Raises:
        ApiProblem: it was refused.
        Unreachable: the control plane does not answer.
    """
    try:
        client.send(calls.destroy(sandbox_id))
    except ApiProblem as problem:
        if problem.status != 404:
            raise


def in_doubt(error: BaseException) -> bool:
    """Say whether a creation that ended so, by Ctrl-C or without its answer, may have made a sandbox all the same."""
    return not isinstance(error, ApiProblem) or error.code in {UNDER_WAY, "unexpected-answer"}


def left(sandbox: Sandbox, error: ValhallaError) -> str:
    """Return the note about a sandbox that could not be destroyed."""
    return f"the sandbox {sandbox.name} was not destroyed ({error}); it ends by itself at {sandbox.expires_at}"
