"""Tells the control plane how well it is followed, and what of it is not enforced here: a thread of its own."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from valhalla.kit.log import get_logger
from valhalla.kit.waiting import Backoff
from valhalla.version import VERSION

if TYPE_CHECKING:
    import httpx

    from valhalla.gate.connected.plane import Following

_log = get_logger("connected")
_PATH: Final = "/system/snapshot/applications"
_EVERY: Final = 30.0
# what is found lacking comes in a storm of requests
_SOONEST: Final = 0.5


class Reporter:
    """Sends a report now and then, and soon after ``wake``."""

    def __init__(
        self, client: Callable[[], httpx.Client], status: Callable[[], Following], name: str | None, *,
        every: float = _EVERY,
    ) -> None:  # fmt: skip
        """``client`` makes who tells; ``every`` in seconds."""
        self._client, self._status, self._name, self._every = client, status, name, every
        self._instance = secrets.token_hex(8)
        self._wake = threading.Event()
        self._over = threading.Event()
        self.error: str | None = None

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="valhalla-reports", daemon=True).start()

    def wake(self) -> None:
        """Tell soon; never waits."""
        self._wake.set()

    def stop(self) -> None:
        """Tell nothing more."""
        self._over.set()
        self._wake.set()

    def _run(self) -> None:
        backoff = Backoff(1.0, self._every)
        with self._client() as client:
            while not self._over.wait(_SOONEST):
                self._wake.clear()
                failure = self._tell(client)
                if failure is not None and failure != self.error:
                    _log.warning("the control plane is not told how it is followed", reason=failure)
                self.error = failure
                if failure is None:
                    backoff.reset()
                    self._wake.wait(self._every)
                else:
                    self._over.wait(backoff.next())

    def _tell(self, client: httpx.Client) -> str | None:
        import httpx

        try:
            status = self._status()
            answer = client.post(_PATH, json=self._report(status))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:200]
        # a control plane that is older has no list of applications
        return None if answer.status_code in (204, 404) else f"it answers {answer.status_code}"

    def _report(self, status: Following) -> dict[str, Any]:
        return {
            "instance": self._instance,
            "name": self._name,
            "host": socket.gethostname()[:200],
            "release": VERSION,
            "revision": status.revision,
            "blocklist": status.blocklist,
            "lacks": [lack._asdict() for lack in status.lacks][:20],
        }
