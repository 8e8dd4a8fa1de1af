"""What stops somebody who reaches out of a seal, and what stops a seal."""

from __future__ import annotations

import errno

from valhalla.kernel.problems import Problem


class EgressBlocked(Problem, PermissionError):  # noqa: N818 - a problem
    """Something in a sealed block tried to reach out.

    It is a ``PermissionError`` with ``EPERM`` because that is what the kernel's layer raises: libraries clean up after
    both in one way.
    """

    code = "egress-blocked"
    status = 403
    title = "A sealed block may not reach out"
    help = "Name the endpoint in allow=, declare the call as an action, or run it outside of the seal."

    def __init__(self, what: str, where: str, layer: str) -> None:
        """``what`` was tried against ``where``; both are redacted already."""
        super().__init__(f"{what} {where}: blocked by the seal ({layer})", what=what, where=where, layer=layer)
        self.errno = errno.EPERM


class SealTimeout(Problem, TimeoutError):  # noqa: N818 - a problem
    """A sealed call did not end before its deadline; its thread goes on, still sealed."""

    code = "seal-timeout"
    status = 504
    title = "The sealed call did not end in time"
    help = "A client that waits for an answer it cannot get hangs: give it a time-out of its own, or more deadline."


class CannotSeal(Problem):
    """The platform refuses what the asked seal needs; nothing was run."""

    code = "cannot-seal"
    status = 501
    title = "This machine cannot seal a process"
    help = "It takes Linux with network namespaces (as root, or user namespaces for all); docs/egress.md says more."


class SealMisuse(Problem):
    """A seal was used twice, or outside of its block."""

    code = "seal-misuse"
    status = 500
    title = "A seal is used once, inside its own block"
    help = "Write 'with sealed(...) as seal:' and call seal.run() inside."
