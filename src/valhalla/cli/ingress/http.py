"""``valhalla ingress http``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli import arguments
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory


@click.command("http")
@click.option("--listen", type=arguments.endpoint, default="127.0.0.1:0", metavar="HOST:PORT", help="Where it listens.")
@click.option("--metrics", type=arguments.endpoint, metavar="HOST:PORT", help="Where Prometheus may ask.")
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to end at stop.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation, listen: tuple[str, int], grace: float, metrics: tuple[str, int] | None, **said: Any
) -> int:
    """Receive webhooks at /ingress/RECEIVER, on servers of your own also while the control plane is away.

    Start as many as you like, on as many machines. Each answers 202 when a webhook is stored, and 503 while it cannot
    be. Ctrl-C ends requests that are under way first.

    \b
    Example:
      valhalla ingress http --listen 127.0.0.1:8081
    """
    from valhalla.server.receiving import receive

    options = Serving.of(**said).options(data_directory(invocation.data_dir))
    return receive(options, *listen, grace=grace, metrics=metrics)
