"""``valhalla up``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, say, working
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import Control, data_directory, read_control


@click.command("up")
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return when it is ready.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=60.0, show_default=True, help="With --detach: seconds."
)
@serving_options
@shared_options
@pass_invocation
def command(invocation: Invocation, detach: bool, timeout: float, **said: Any) -> int | None:
    """Start the control plane with its Postgres, Valkey and NATS. Ctrl-C stops all of it.

    \b
    Example:
      valhalla up
      valhalla up --detach && valhalla sandbox new
    """
    serving = Serving.of(**said)
    serving.overrides()  # a mistake in them is told before anything starts
    data_dir = data_directory(invocation.data_dir)
    control = read_control(data_dir)
    running = control if control is not None and control.is_running else None
    if not detach:
        if running is not None:
            detail = f"a control plane already runs on {data_dir} at {running.url} (process {running.pid})"
            raise Refusal("already-running", detail, "Use it, or stop it with 'valhalla down'.")
        from valhalla.server.process import serve

        return serve(serving.options(invocation.data_dir and data_dir))
    if running is not None:
        _tell(invocation, running, admin_key=None, fresh=False)
        return None
    from valhalla.cli.detached import start

    with working(invocation, "Starting the control plane"):
        started = start(data_dir, serving, timeout)
    _tell(invocation, started.control, admin_key=started.admin_key, fresh=True)
    return None


def _console(control: Control) -> str:
    """Return where to sign in; without the key of the first start the console asks for one."""
    from valhalla.sdk.client import Client
    from valhalla.sdk.console import login_link
    from valhalla.sdk.errors import ValhallaError

    key = control.admin_key_file
    try:
        with Client(control.url, key.read_text().strip(), timeout=5) as client:
            return control.url + client.send(login_link()).path
    except (OSError, ValhallaError):
        return f"{control.url}/console/"


def _tell(invocation: Invocation, control: Control, *, admin_key: str | None, fresh: bool) -> None:
    told = {"admin_key": admin_key} if admin_key else {}
    if invocation.json:
        members = {
            "url": control.url,
            "data_dir": str(control.data_dir),
            "pid": control.pid,
            "admin_key_file": str(control.admin_key_file),
            "started": fresh,
        }
        emit(members | told)
    elif invocation.quiet:
        say(control.url)
    else:
        say(f"Valhalla {'runs' if fresh else 'already runs'} at {control.url}")
        log = control.data_dir / "logs" / "control.log"
        members = [
            ("data directory", control.data_dir),
            ("log", log if log.exists() else None),
            ("pid", control.pid),
        ]
        fields(invocation, [*members, ("admin key", admin_key), ("console", _console(control))])
        say(f"Stop it:  {invocation.again('down')}")
