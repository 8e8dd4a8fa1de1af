"""Asking the control plane for what the screen shows: what the key may not see is left out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from valhalla.cli.top.state import Decision, Seen
from valhalla.sdk.client import Client
from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request

_ROWS = "20"


def see(client: Client) -> Seen:
    """Return how things are now.

    Raises:
        Unreachable: there is no control plane to ask.
    """

    def ask(path: str, **query: str) -> Any:
        try:
            return client.document(Request("GET", path, dict, params=query))
        except ApiProblem as problem:
            if problem.status == 403:
                return None
            raise

    def items(found: Any) -> Any:
        return None if found is None else found["items"]

    sandboxes = ask("/api/sandboxes", limit=_ROWS)
    try:
        return Seen(
            overview=ask("/system/admin"),
            holds=items(ask("/system/holds", limit=_ROWS)),
            sandboxes=items(sandboxes),
            jobs=items(ask("/system/jobs", limit=_ROWS)),
            alerts=items(ask("/system/alerts", unresolved="true", limit=_ROWS)),
            total=None if sandboxes is None else sandboxes.get("total"),
        )
    except ApiProblem as problem:
        return Seen(problem=str(problem))


def decide(client: Client, decision: Decision) -> str:
    """Approve or deny what was looked at; return what to say of it."""
    from valhalla.sdk.holds import decide_hold

    hold = decision.hold
    try:
        after = client.send(decide_hold(hold["id"], decision.verb, fingerprint=hold.get("fingerprint")))
    except (ApiProblem, Unreachable) as problem:
        return str(problem)
    waits = f", waits for {after.missing}" if after.missing else ""
    return f"{after.action}: {after.state}{waits}"


def listen(client: Client, told: Callable[[], None]) -> None:
    """Call ``told`` at every event, in a thread that ends with the process; without the right to hear, never."""

    def follow() -> None:
        # whoever may not hear is refreshed by the clock alone
        with contextlib.suppress(ApiProblem, Unreachable):
            for _ in client.events.follow(missed=told):
                told()

    threading.Thread(target=follow, daemon=True).start()
