"""``valhalla``: the table of commands, and what every ending of a command means to the shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from valhalla.cli.invocation import Invocation, global_options
from valhalla.cli.lazy import LazyGroup

SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_AT: Final = "valhalla.cli.commands."
TABLE: Final = {
    "up": (_AT + "up", "Start the control plane and its servers."),
    "down": (_AT + "down", "Stop the control plane of the data directory."),
    "sandbox": ("valhalla.cli.sandbox", "Make, enter and destroy sandboxes."),
    "template": (_AT + "template", "List templates, and remove snapshots."),
    "status": (_AT + "status", "Say in one line whether the control plane works."),
    "info": (_AT + "info", "Show address, data directory and services."),
    "login": (_AT + "login", "Print a link that signs in to the console."),
    "top": (_AT + "top", "Watch approvals, alerts, jobs and sandboxes; decide."),
    "mcp": (_AT + "mcp", "Serve tools for agents (Model Context Protocol)."),
    "doctor": (_AT + "doctor", "Check every part and say what to do."),
    "demo": (_AT + "demo", "Watch one sandbox live, work and end."),
    "key": (_AT + "key", "Make, list, change, rotate and revoke API keys."),
    "person": (_AT + "person", "See who signed in with an issuer, and who may no more."),
    "hold": (_AT + "hold", "Approve or deny guarded actions that wait."),
    "alert": (_AT + "alert", "Look at alerts, acknowledge, resolve and silence them."),
    "notify": (_AT + "notify", "Tell people and programs; see what arrived, replay it."),
    "policy": (_AT + "policy", "Say what requests may not do."),
    "honeypot": (_AT + "honeypot", "Register sensors, put up decoys, see who touched them."),
    "security": (_AT + "security", "See the security mode, raise it for a while."),
    "limit": (_AT + "limit", "Say how much callers may ask for."),
    "block": (_AT + "block", "Say who is not let in; import lists."),
    "applications": (_AT + "applications", "See who follows, and what is not enforced there."),
    "maintenance": (_AT + "maintenance", "Close writes for a while, now or as planned."),
    "deployment": (_AT + "deployment", "Record deployments, see what they amount to."),
    "smoke": (_AT + "smoke", "Run smoke suites, for people and for CI."),
    "logs": (_AT + "logs", "Search and follow log lines."),
    "traces": (_AT + "traces", "See what failed or was slow, and what happened inside."),
    "flag": (_AT + "flag", "Define, evaluate and kill feature flags."),
    "config": (_AT + "config", "Read and change configuration, as documents too."),
    "ingress": ("valhalla.cli.ingress", "Take live traffic in: webhooks, requests, gateways."),
    "source": (_AT + "source", "Declare who publishes straight to NATS; give credentials."),
    "router": (_AT + "router", "Move events of such publishers onto their lanes."),
    "events": (_AT + "events", "Show what happens, as it does."),
    "graphql": (_AT + "graphql", "Ask several things in one query."),
    "routes": (_AT + "routes", "See every route, and what would stop a request."),
    "admin": (_AT + "admin", "See how things stand; execute admin actions."),
    "export": (_AT + "export", "Write data to files, and fetch them."),
    "retention": (_AT + "retention", "Say how long data is kept; purge it, and see proofs."),
    "legal-hold": (_AT + "legal_hold", "Name rows that no purge may take."),
    "ledger": (_AT + "ledger", "Read the ledger and verify that nobody changed it."),
    "job": (_AT + "job", "Submit, watch, cancel and retry background jobs."),
    "schedule": (_AT + "schedule", "See the timetable of jobs; run, pause and resume."),
    "heartbeat": (_AT + "heartbeat", "See who lives; say so for a script of yours."),
    "worker": (_AT + "worker", "Run the jobs of your own program."),
    "db": (_AT + "db", "Migrate the control plane's database."),
}


@click.group(cls=LazyGroup, table=TABLE, context_settings=SETTINGS)
@click.version_option(package_name="valhalla", message="valhalla %(version)s")
@global_options
def cli() -> None:
    """A safe place to run risky backend code.

    \b
    Example:
      valhalla up --detach
      valhalla sandbox new try-it --ttl 90m
      eval "$(valhalla sandbox env try-it)"
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised.

    0 fine, 1 refused by the rules, 2 usage, 3 the control plane cannot be reached, 130 interrupted.
    """
    invocation = Invocation()
    try:
        try:
            return _invoke(list(arguments), invocation)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # whoever read us has seen enough; what is still buffered must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, click.Abort):
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one message, no traceback
        from valhalla.cli.failures import report

        return report(error, as_json=invocation.json)


def _invoke(arguments: list[str], invocation: Invocation) -> int:
    # not click's main(): it turns a broken pipe and Ctrl-C into endings of its own
    if instruction := os.environ.get("_VALHALLA_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "valhalla", "_VALHALLA_COMPLETE", instruction)
    try:
        with cli.make_context("valhalla", arguments, obj=invocation) as ctx:
            outcome = cli.invoke(ctx)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    return outcome if isinstance(outcome, int) else 0


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
