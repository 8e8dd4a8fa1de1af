"""What maintenance can meet."""

from __future__ import annotations

from datetime import datetime

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Invalid, NotFound, Problem

_SOON = 60.0


class ReadOnly(Problem):
    """Writes are closed for a while; reads pass."""

    code = "read-only"
    status = 503
    title = "Writes are closed for maintenance"
    help = "Come again after Retry-After; reads go on. 'valhalla maintenance status' tells until when."

    def __init__(self, mode: str, reason: str, until: datetime | None, now: datetime) -> None:
        """``until`` is when writes open again, ``None`` when nobody knows: then a minute is advised."""
        wait = _SOON if until is None else max(1.0, (until - now).total_seconds())
        detail = f"the control plane is in mode '{mode}': {reason}" if reason else f"the mode is '{mode}'"
        super().__init__(
            detail, retry_after=wait, mode=mode, reason=reason, until=None if until is None else isoformat(until)
        )


class BadState(Invalid):
    """The state contradicts itself or the time."""

    code = "bad-maintenance-state"
    title = "Nobody could mean this state"
    help = "Send a mode (normal, read_only, maintenance), a reason, and an 'until' in the future with its offset."


class BadWindow(Invalid):
    """The window can never be, or not be understood."""

    code = "bad-window"
    title = "This window of maintenance cannot be"
    help = "See docs/maintenance.md; 'valhalla maintenance preview' shows the next times of a window."


class WindowNotFound(NotFound):
    """No window has this name."""

    code = "window-not-found"
    title = "There is no such window of maintenance"
    help = "'valhalla maintenance window ls' lists them."
