"""``--sealed``: a program that reaches one sandbox and nothing else, and the report of what it tried."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from valhalla.cli.child import Child
from valhalla.cli.failures import Refusal
from valhalla.cli.invocation import Invocation
from valhalla.cli.text import printable
from valhalla.guard.egress import CannotSeal
from valhalla.guard.egress.child import Confined
from valhalla.sdk.access import Connection

_SHOWN = 20


def run(
    invocation: Invocation, child: Child, program: Sequence[str], env: Mapping[str, str], connection: Connection
) -> int:
    """Run the program confined and tell what it tried.

    Raises:
        Refusal: this machine cannot confine it; it was not started.
    """
    try:
        with Confined(endpoints(connection)) as confined:
            code = child.run(program, confined.environment(env), confined)
    except CannotSeal as error:
        raise Refusal(error.code, error.detail, error.advice) from error
    _tell(invocation, confined)
    return code


def endpoints(connection: Connection) -> list[str]:
    """Return where the slices of a sandbox are."""
    slices = (connection.postgres, connection.valkey)
    found = [f"[{s.host}]:{s.port}" if ":" in s.host else f"{s.host}:{s.port}" for s in slices if s is not None]
    # a cluster is written as several URLs
    return found + (connection.nats.url.split(",") if connection.nats is not None else [])


def _tell(invocation: Invocation, confined: Confined) -> None:
    if invocation.json:
        document = {
            "sealed": True,
            "attempts": [attempt.document() for attempt in confined.attempts],
            "dropped": confined.dropped,
            "coverage": confined.coverage.document(),
        }
        sys.stderr.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    counted = Counter(
        (attempt.verdict, attempt.what, attempt.where, str(attempt.layer)) for attempt in confined.attempts
    )
    if not counted:
        if not invocation.quiet:
            sys.stderr.write("Sealed: the program tried nothing outside of its sandbox.\n")
        return
    blocked = sum(count for (verdict, *_), count in counted.items() if verdict == "blocked") + confined.dropped
    sys.stderr.write(f"Sealed: {blocked} attempts to leave the sandbox were stopped.\n")
    for (verdict, what, where, layer), count in list(counted.items())[:_SHOWN]:
        times = f" ({count} times)" if count > 1 else ""
        sys.stderr.write(f"  {verdict:<8} {printable(what)} {printable(where)}{times} [{layer}]\n")
    if len(counted) > _SHOWN:
        sys.stderr.write(f"  and {len(counted) - _SHOWN} others: --json lists them all\n")
