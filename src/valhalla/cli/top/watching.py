"""Asking the control plane for what the screen shows: what the key may not see is left out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from valhalla.cli.top.patience import Patience
from valhalla.cli.top.state import Decision, Seen
from valhalla.sdk.client import Client
from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request

_ROWS: Final = "20"
# somebody sits in front of it and presses keys
_SECONDS: Final = 5.0


class _Look(Request[Any]):
    """Sent once: the screen says that it failed, and keys are not kept waiting for a repetition."""

    @property
    def is_repeatable(self) -> bool:
        return False


def see(client: Client, patience: Patience | None = None) -> Seen:
    """Return how things are now. With ``patience`` nobody asks while the control plane wants to be left alone.

    Raises:
        Unreachable: there is no control plane to ask; with ``patience`` also: it refuses for now.
        ApiProblem: it refuses; with ``patience``: and it never answered otherwise.
    """
    if patience is None:
        return _look(client)
    patience.check(time.monotonic())
    try:
        seen = _look(client)
    except (ApiProblem, Unreachable) as error:
        raise patience.failed(error, time.monotonic()) from error
    patience.answered()
    return seen


def _look(client: Client) -> Seen:
    def ask(path: str, **query: str) -> Any:
        try:
            return client.document(_Look("GET", path, dict, params=query, timeout=_SECONDS))
        except ApiProblem as problem:
            if problem.status == 403:
                return None
            raise

    def items(found: Any) -> Any:
        return None if found is None else found["items"]

    sandboxes = ask("/api/sandboxes", limit=_ROWS)
    return Seen(
        overview=ask("/system/admin"),
        holds=items(ask("/system/holds", limit=_ROWS)),
        sandboxes=items(sandboxes),
        jobs=items(ask("/system/jobs", limit=_ROWS)),
        alerts=items(ask("/system/alerts", unresolved="true", limit=_ROWS)),
        total=None if sandboxes is None else sandboxes.get("total"),
    )


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
        # whoever may not hear is refreshed by the clock alone; a client that was closed says RuntimeError
        with contextlib.suppress(ApiProblem, Unreachable, RuntimeError, OSError):
            for _ in client.events.follow(missed=told):
                told()

    threading.Thread(target=follow, daemon=True).start()
