"""What a call of the control plane can end with, other than its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

START_IT: Final = "Start it with 'valhalla up', or name another with VALHALLA_URL or --data-dir."


class ValhallaError(Exception):
    """Base of everything the SDK raises on purpose."""


class ApiProblem(ValhallaError):  # noqa: N818 - the field's word (RFC 9457)
    """The control plane answered with a problem (RFC 9457).

    ``code`` is stable and for programs; ``detail`` says why, ``help`` what to do next; ``extra`` holds every
    other member of the document, such as ``title``, ``correlation_id`` or ``retry_after``.
    """

    def __init__(
        self,
        code: str,
        status: int,
        detail: str,
        help: str = "",  # noqa: A002 - the member's name on the wire
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.help = help
        self.extra = extra or {}

    @property
    def title(self) -> str:
        """What happened, in words that are the same for every occurrence."""
        return str(self.extra.get("title") or self.detail)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which a repetition makes sense, when the control plane said so."""
        seconds = self.extra.get("retry_after")
        return float(seconds) if isinstance(seconds, (int, float)) else None

    def document(self) -> dict[str, Any]:
        """Return the problem as the document it was, or would have been."""
        known = {"status": self.status, "detail": self.detail, "code": self.code, "help": self.help}
        return {"type": f"/problems/{self.code}", "title": self.title} | self.extra | known


class Unreachable(ValhallaError):  # noqa: N818 - reads as what it is
    """No control plane answered at ``url``."""

    code: Final = "unreachable"

    def __init__(self, url: str | None, reason: str = "", help: str = START_IT) -> None:  # noqa: A002
        super().__init__(f"{url}: {reason}" if url and reason else reason or f"{url} does not answer")
        self.url = url
        self.reason = reason
        self.help = help

    @property
    def title(self) -> str:
        """What happened, in words that are the same for every occurrence."""
        return "The control plane cannot be reached"

    def document(self) -> dict[str, Any]:
        """Return a document shaped like a problem's; without ``status``, for there was no answer."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "detail": str(self),
            "code": self.code,
            "help": self.help,
            "url": self.url,
        }


class NotRunning(Unreachable):
    """Nothing runs on the data directory; ``stale`` when a run left its record behind and has ended."""

    def __init__(self, data_dir: Path, *, stale: bool = False, reason: str = "") -> None:
        super().__init__(None, reason or f"no control plane is running on {data_dir}")
        self.data_dir = data_dir
        self.stale = stale

    @property
    def title(self) -> str:
        """What happened."""
        return "The control plane is not running"
