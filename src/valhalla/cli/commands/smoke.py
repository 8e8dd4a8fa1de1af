"""``valhalla smoke``: ask what was deployed whether it works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from valhalla.cli.documents import sequence
from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, remark, say, table
from valhalla.cli.registry import registry_group
from valhalla.cli.text import instant_of, printable, relative

command = registry_group(
    "smoke", "/system/deployment/smoke/suites", key="name", columns=("base_url", "cron", "description"), example="api"
)
command.help = """Run smoke suites; read and change them, their history and their past.

\b
Example:
  valhalla smoke put api --file api.json
  valhalla smoke run api --junit smoke.xml
"""
# the word of the house for a record is "show"
command.add_command(command.commands["get"], "show")


@command.command("run")
@click.argument("suite")
@click.option("--base-url", help="Ask this declared target instead of the suite's own.")
@click.option("--deployment", metavar="ID", help="Whose verdict it is.")
@click.option("--junit", "path", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report there.")
@click.option("--timeout", type=click.FloatRange(1), default=900, show_default=True, help="Wait so many seconds.")
@click.option("--no-wait", is_flag=True, help="Print the run's id and leave it to itself.")
@shared_options
@pass_invocation
def run(
    invocation: Invocation,
    suite: str,
    base_url: str | None,
    deployment: str | None,
    path: Path | None,
    timeout: float,
    no_wait: bool,
) -> None:
    """Run a suite and wait: exit code 0 if every check passed, else 1.

    \b
    Example:
      valhalla smoke run api --deployment k3v9x0q2m1n8b7c6 --junit smoke.xml
    """
    with invocation.client() as client:
        from valhalla.sdk.smoke import get_run, run_suite

        found: dict[str, Any] = client.document(run_suite(suite, base_url=base_url, deployment=deployment))
        if no_wait:
            emit(found) if invocation.json else say(found["id"])
            return
        ends = time.monotonic() + timeout
        while True:
            found = client.document(get_run(found["id"]))
            if found["finished_at"] is not None or time.monotonic() > ends:
                break
            time.sleep(0.25)
    if path is not None:
        from valhalla.cli.junit import junit

        path.write_text(junit(found), encoding="utf-8")
    _tell(invocation, found)
    if found["finished_at"] is None:
        remark(invocation, f"It has not ended within {timeout:g} s, and goes on.")
    if found["status"] != "passed":
        raise click.exceptions.Exit(1)


@command.command("runs")
@click.option("--suite", help="Only of this suite.")
@click.option("--status", type=click.Choice(["queued", "running", "passed", "failed", "lost"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def runs(invocation: Invocation, suite: str | None, status: str | None, limit: int) -> None:
    """List runs, the newest first.

    \b
    Example:
      valhalla smoke runs --suite api --status failed
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk.smoke import list_runs

        found = collect(
            client, lambda size, cursor: list_runs(limit=size, cursor=cursor, suite=suite, status=status), limit
        )
    if invocation.json:
        emit(found)
        return
    rows = [
        (
            *(str(one[name]) for name in ("id", "suite", "status")),
            f"{one['passed']}/{one['total']}",
            relative(instant_of(one["created_at"])),
            one["base_url"],
        )
        for one in found["items"]
    ]
    table(invocation, ["id", "suite", "status", "passed", "when", "base url"], rows)


@command.command("result")
@click.argument("ref", metavar="RUN")
@shared_options
@pass_invocation
def result(invocation: Invocation, ref: str) -> None:
    """Show one run with every attempt.

    \b
    Example:
      valhalla smoke result k3v9x0q2m1n8b7c6
    """
    with invocation.client() as client:
        from valhalla.sdk.smoke import get_run

        _tell(invocation, client.document(get_run(ref)))


def _tell(invocation: Invocation, found: dict[str, Any]) -> None:
    if invocation.json:
        emit(found)
        return
    if invocation.quiet:
        say(found["status"])
        return
    from valhalla.cli.junit import describe

    rows: list[tuple[str, ...]] = []
    for attempt in sequence(found, "results"):
        told = "; ".join(describe(failure) for failure in sequence(attempt, "failures"))
        took = "" if attempt["latency_ms"] is None else f"{attempt['latency_ms']:.0f} ms"
        rows.append((attempt["name"], str(attempt["attempt"]), "ok" if attempt["ok"] else "failed", took, told))
    table(invocation, ["check", "attempt", "result", "took", "why"], rows)
    say(f"{found['status']}: {found['passed']} of {found['total']} checks passed ({printable(found['id'])})")
    if (remedy := found.get("remedy")) is not None:
        done = "done" if remedy.get("done") else f"not done: {remedy.get('why')}"
        say(printable(f"{remedy.get('action')} of {remedy.get('registry')} {remedy.get('key') or ''}: {done}"))
