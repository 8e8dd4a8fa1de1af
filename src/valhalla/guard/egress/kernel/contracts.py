"""What the kernel's layer says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Locked:
    """Whether a thread is under the filter, and what limits it, or why it is not."""

    active: bool
    reason: str = ""


class Refused(Exception):  # noqa: N818 - caught inside of this package
    """The platform has no such filter; the message says why."""
