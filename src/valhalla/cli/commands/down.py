"""``valhalla down``."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

import click

from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, say, working
from valhalla.sdk.discovery import Control, data_directory, running
from valhalla.sdk.errors import NotRunning

_LOOK_EVERY: Final = 0.02


@click.command("down")
@click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds to wait.")
@shared_options
@pass_invocation
def command(invocation: Invocation, timeout: float) -> None:
    """Stop the control plane and its servers. Sandboxes and data stay for the next start.

    \b
    Example:
      valhalla down
    """
    data_dir = data_directory(invocation.data_dir)
    try:
        control = running(data_dir)
    except NotRunning as error:
        if invocation.json:
            emit({"stopped": False, "data_dir": str(data_dir)})
        elif not invocation.quiet:
            say(f"Nothing to stop: {error}")
        return
    with working(invocation, "Stopping the control plane"):
        stop(control, timeout)
    if invocation.json:
        emit({"stopped": True, "data_dir": str(data_dir), "pid": control.pid})
    elif not invocation.quiet:
        say(f"Stopped (process {control.pid})")


def stop(control: Control, timeout: float) -> None:
    """Ask the process to stop and wait for its end.

    Raises:
        Refusal: it still runs after ``timeout`` seconds.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(control.pid, signal.SIGTERM)
    until = time.monotonic() + timeout
    while control.is_running:
        if time.monotonic() > until:
            detail = f"process {control.pid} still runs {timeout:g} s after it was asked to stop"
            log = control.data_dir / "logs" / "control.log"
            raise Refusal("still-running", detail, f"Wait and try again; {log} says what it is doing.")
        time.sleep(_LOOK_EVERY)
