"""``valhalla worker``."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.serving import Serving, serving_options
from valhalla.sdk.discovery import data_directory


@click.command("worker")
@click.argument("jobs", metavar="MODULE:NAME")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=32, show_default=True, help="Jobs run at once.")
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to end at stop.")
@click.option("--name", help="What its heartbeat is called, where several run the same jobs on one host.")
@click.option("--during-maintenance", is_flag=True, help="Begin jobs while the control plane takes no writes, too.")
@serving_options
@shared_options
@pass_invocation
def command(
    invocation: Invocation,
    jobs: str,
    concurrency: int,
    grace: float,
    name: str | None,
    *,
    during_maintenance: bool,
    **said: Any,
) -> int:
    """Run the jobs of your own program, registered in a valhalla.work.Jobs called NAME in MODULE.

    Start as many as you like, on as many machines. Ctrl-C lets running jobs end or hands them back.

    \b
    Example:
      valhalla worker shop.jobs:jobs
    """
    from valhalla.server.working import work

    options = Serving.of(**said).options(data_directory(invocation.data_dir))
    return work(options, jobs, concurrency=concurrency, grace=grace, name=name, during_maintenance=during_maintenance)
