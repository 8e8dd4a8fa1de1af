"""``valhalla job``: background jobs, submitted, watched and brought back."""

from __future__ import annotations

from typing import Any

import click

from valhalla.cli.invocation import Invocation, pass_invocation, shared_options
from valhalla.cli.output import emit, fields, listing, remark, say, table
from valhalla.cli.text import instant_of, printable, relative

STATUSES = click.Choice(["queued", "running", "held", "succeeded", "cancelled", "dead"])


@click.group("job")
@shared_options
def command() -> None:
    """Submit, watch, cancel and retry background jobs.

    \b
    Example:
      valhalla job submit export.make --arg customer=c1
      valhalla job ls --status dead
    """


@command.command("ls")
@click.option("-s", "--status", type=STATUSES, help="Only those in this status.")
@click.option("--name", help="Only those of this name.")
@click.option("--queue", help="Only those of this queue.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@shared_options
@pass_invocation
def ls(invocation: Invocation, limit: int, **filters: str | None) -> None:
    """List jobs, newest first.

    \b
    Example:
      valhalla job ls --status dead --name export.make
    """
    with invocation.client() as client:
        from valhalla.cli.paging import collect
        from valhalla.sdk import work_calls

        found = collect(client, lambda size, cursor: work_calls.list_jobs(**filters, limit=size, cursor=cursor), limit)
    if invocation.json:
        emit(found)
    elif invocation.quiet:
        for job in found["items"]:
            say(job["id"])
    elif not found["items"]:
        remark(invocation, "No jobs.")
    else:
        rows = [
            (job["id"], job["name"], job["queue"], job["status"], relative(instant_of(job["created_at"])), _why(job))
            for job in found["items"]
        ]
        table(invocation, ["id", "name", "queue", "status", "created", "error"], rows)
        if found["next"]:
            remark(invocation, f"There are more than these {len(rows)}: see --limit.")


@command.command("show")
@click.argument("job_id", metavar="ID")
@shared_options
@pass_invocation
def show(invocation: Invocation, job_id: str) -> None:
    """Show one job with its progress, result or error.

    \b
    Example:
      valhalla job show mwq4tib4w2ufk335
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        job = client.document(work_calls.get_job(job_id))
    _print(invocation, job)


@command.command("queues")
@shared_options
@pass_invocation
def queues(invocation: Invocation) -> None:
    """List the queues: what waits and since when, what runs, is held or dead.

    \b
    Example:
      valhalla job queues
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        found = client.document(work_calls.job_queues())
    listing(
        invocation,
        found,
        ["queue", "waiting", "oldest", "running", "held", "dead", "worker"],
        lambda one: (
            one["name"],
            _count(one, "waiting", found["capped"]),
            relative(instant_of(one["oldest_at"])),
            *(_count(one, name, found["capped"]) for name in ("running", "held", "dead")),
            "yes" if one["alive"] else "no",
        ),
    )


@command.command("submit")
@click.argument("name")
@click.option("-a", "--arg", "pairs", multiple=True, metavar="K=V", help="An argument; V is JSON, or else text.")
@click.option("--priority", type=int, help="A higher one goes first.")
@click.option("--delay", type=click.FloatRange(min=0), help="Seconds until it may begin.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds an attempt may take.")
@click.option("--key", "dedup_key", help="While one with this key is unfinished, no second is made.")
@shared_options
@pass_invocation
def submit(invocation: Invocation, name: str, pairs: tuple[str, ...], **options: Any) -> None:
    """Submit a job that some worker knows.

    \b
    Example:
      valhalla job submit export.make --arg customer=c1 --arg rows=1000
    """
    args = _arguments(pairs)
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        document = client.document(work_calls.submit_job(name, args, **options))
    if invocation.json:
        emit(document)
        return
    say(document["id"])
    if not document["created"]:
        remark(invocation, "An unfinished job has this key: that one.")


@command.command("cancel")
@click.argument("job_id", metavar="ID")
@shared_options
@pass_invocation
def cancel(invocation: Invocation, job_id: str) -> None:
    """Cancel a job: one that waits never runs, one that runs is asked to end.

    \b
    Example:
      valhalla job cancel mwq4tib4w2ufk335
    """
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        job = client.document(work_calls.cancel_job(job_id))
    _print(invocation, job)


@command.command("retry")
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Every job that matches, instead of one.")
@click.option("-s", "--status", type=click.Choice(["dead", "held", "cancelled"]), default="dead", show_default=True)
@click.option("--name", help="With --all: only those of this name.")
@click.option("--queue", help="With --all: only those of this queue.")
@click.option("--dry-run", is_flag=True, help="With --all: only count them.")
@shared_options
@pass_invocation
def retry(invocation: Invocation, job_id: str | None, *, everything: bool, dry_run: bool, **filters: Any) -> None:
    """Put a dead, cancelled or held job back into its queue, or all that match.

    \b
    Example:
      valhalla job retry --all --name export.make --dry-run
    """
    if (job_id is None) is not everything:
        raise click.UsageError("Name one job, or say --all.")
    with invocation.client() as client:
        from valhalla.sdk import work_calls

        if job_id is not None:
            job = client.document(work_calls.retry_job(job_id))
            return _print(invocation, job)
        found = client.document(work_calls.retry_jobs(**filters, dry_run=dry_run))
        back = list(found["replayed"])
        # a thousand at a time; what is left out each time because of its key ends the loop
        while not dry_run and len(back) < found["matched"] and found["replayed"]:
            found = {**client.document(work_calls.retry_jobs(**filters)), "matched": found["matched"]}
            back += found["replayed"]
    if invocation.json:
        emit({"dry_run": dry_run, "matched": found["matched"], "replayed": back})
    elif invocation.quiet:
        for key in back:
            say(key)
    else:
        say(f"{found['matched']} match" if dry_run else f"{len(back)} of {found['matched']} are in line again")
    return None


def _arguments(pairs: tuple[str, ...]) -> dict[str, Any]:
    import json

    members: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE.", param_hint="'--arg'")
        if key in members:
            raise click.BadParameter(f"{key!r} is given twice.", param_hint="'--arg'")
        try:
            members[key] = json.loads(value)
        except ValueError:
            members[key] = value
    return members


def _print(invocation: Invocation, job: dict[str, Any]) -> None:
    import json

    if invocation.json:
        emit(job)
    elif invocation.quiet:
        say(job["id"])
    else:
        say(f"{printable(job['name'])}  {job['id']}")
        shown = ["status", "queue", "attempts", "crashes", "effect", "dedup_key", "correlation_id"]
        texts = {
            name: json.dumps(job[name], ensure_ascii=False) for name in ("args", "progress", "result") if job[name]
        }
        times = [(name, relative(instant_of(job[f"{name}_at"]))) for name in ("created", "started", "finished")]
        members = [*((name, job[name]) for name in shown), *texts.items(), ("error", _why(job)), *times]
        fields(invocation, [(name, value) for name, value in members if value not in (0, "-")])
        error: dict[str, Any] = job.get("error") or {}
        for line in str(error.get("traceback") or "").splitlines():
            say(f"  {printable(line)}")


def _count(queue: dict[str, Any], name: str, capped: list[str]) -> str:
    return f"{queue[name]}+" if name in capped else str(queue[name])


def _why(job: dict[str, Any]) -> str:
    error: dict[str, Any] = job.get("error") or {}
    return str(error.get("detail") or "")[:80]
