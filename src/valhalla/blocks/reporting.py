"""Telling a control plane what happens here: alerts as they come, and that this program is alive."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Final

from valhalla.kit.log import get_logger
from valhalla.sdk.errors import ApiProblem, ValhallaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from valhalla.sdk.client import Client

_log = get_logger("blocks.reporting")
_SOURCE: Final = "orchestrator"
_PATIENCE: Final = 5.0
# an older control plane has no such routes, and a key may not be allowed to use them
_REFUSED: Final = frozenset({401, 403, 404, 405})


class Reporter:
    """Posts to one control plane. What is refused is said once, and what does not arrive is not repeated."""

    def __init__(self, client: Client, name: str, *, alive: Callable[[], bool], interval: float) -> None:
        """``name`` is what beats, every ``interval`` seconds, for as long as ``alive`` says yes."""
        self._client, self._name, self._alive, self._interval = client, name, alive, interval
        self._refused: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="valhalla-reporter", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def alert(self, record: dict[str, Any]) -> None:
        """Raise an alert of this process in the control plane."""
        title = record["reason"][:500] or record["task"]
        labels, context = {"orchestrator": self._name}, {**record["context"], "count": record["count"]}
        name, severity, alerts = _named(record["task"]), record["severity"], self._client.alerts
        self._send(
            "alerts",
            lambda: alerts.raise_(name, severity, title=title, source=_SOURCE, labels=labels, context=context),
        )

    def stop(self) -> None:
        """Beat no more; the control plane expects nothing any longer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)
        self._send("heartbeats", lambda: self._client.heartbeats.forget(self._name))

    def _run(self) -> None:
        beats = self._client.heartbeats
        while True:
            if self._alive():
                self._send("heartbeats", lambda: beats.ping(self._name, interval=self._interval))
            if self._stop.wait(self._interval):
                return

    def _send(self, what: str, send: Callable[[], object]) -> None:
        if what in self._refused:
            return
        try:
            send()
        except ApiProblem as problem:
            if problem.status in _REFUSED:
                self._refused.add(what)
            _log.warning("the control plane refuses", what=what, code=problem.code, status=problem.status)
        except ValhallaError as error:
            _log.warning("the control plane does not hear", what=what, error=str(error))


def _named(task: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.:/ -]", "_", task)[:199]
    return name if re.match("[A-Za-z0-9_]", name) else f"_{name}"
