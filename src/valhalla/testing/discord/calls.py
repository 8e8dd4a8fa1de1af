"""What was asked of the REST interface."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

from valhalla.testing.discord.documents import Doc


@dataclass(frozen=True, slots=True)
class Call:
    """One request and its answer. ``path`` is without ``/api/v10``, ``body`` the decoded JSON."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str | None
    """The bot token that was sent, without its prefix; None if there was none."""
    status: int
    answer: Any
    files: tuple[str, ...] = ()
    """Names of the files that were sent with it."""
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def is_of(self, method: str, path: str) -> bool:
        """Say whether it is of this method and path; ``*`` in the path stands for anything."""
        return self.method == method.upper() and fnmatch.fnmatchcase(self.path, path)


@dataclass(slots=True)
class Request:
    """A request on its way to its route."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    token: str | None
    body: Any
    files: tuple[tuple[str, int], ...] = ()
    """Names and sizes."""
    parameters: dict[str, str] = field(default_factory=dict[str, str])

    def __getitem__(self, name: str) -> str:
        return self.parameters[name]

    @property
    def document(self) -> Doc:
        """The body where it is to be an object; else an empty one."""
        body: Any = self.body
        return body if isinstance(body, dict) else {}  # pyright: ignore[reportUnknownVariableType]


class Refused(Exception):  # noqa: N818 - it is an answer
    """Answer with Discord's own error: HTTP status, its code, its message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Doc = {"message": message, "code": code}


def unknown(what: str, code: int) -> Refused:
    """Return "Unknown channel" and the like."""
    return Refused(404, code, f"Unknown {what}")
