"""``SandboxReadinessChecker``: GO or NO-GO from evidence, each piece with its age."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from valhalla.kernel.clock import isoformat
from valhalla.kernel.problems import Invalid
from valhalla.kit.checks import Checks, Report


class SandboxReadinessChecker:
    """Runs checks side by side, each for a bounded time. Ready: every critical one passed, and not too long ago.

    What was not asked yet, does not answer, answers neither true nor false, or was closed is not ready.
    """

    def __init__(self, *, max_age: float = 60.0) -> None:
        """A result that is older than ``max_age`` seconds proves nothing.

        Raises:
            Invalid: it is not above zero.
        """
        if not max_age > 0:
            raise Invalid("max_age must be above zero")
        self._checks = Checks(max_age=max_age)
        self._last: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register_check(
        self,
        name: str,
        func: Callable[[], Any],
        *,
        critical: bool = True,
        timeout: float = 3.0,
        cache: float = 0.0,
        help: str | None = None,  # noqa: A002 - the member's name in every report
    ) -> None:
        """Ask ``func``, sync or async, from now on; it replaces a check of the same name.

        It answers ``True``, ``False``, a ``kit.checks.Verdict`` with a reason, or raises. ``timeout`` and ``cache`` in
        seconds; one that is not ``critical`` is told and decides nothing.

        Raises:
            Invalid: a duration makes no sense.
        """
        try:
            self._checks.register(name, func, critical=critical, timeout=timeout, cache=cache, help=help, replaces=True)
        except ValueError as error:
            raise Invalid(str(error)) from None

    def remove_check(self, name: str) -> None:
        """Ask it no more, if there is one of this name."""
        self._checks.remove(name)

    def run_all_checks(self) -> dict[str, bool]:
        """Ask every check and return whether each passed; nothing is waited for longer than its time-out."""
        return _passed(self.report())

    def report(self) -> Report:
        """Ask every check and return what each said, with the reason, seconds and age of its evidence."""
        report = self._checks.run_blocking()
        self._last = datetime.now(UTC)
        return report

    async def areport(self) -> Report:
        """Async twin of ``report``; async checks run on this loop."""
        report = await self._checks.run()
        self._last = datetime.now(UTC)
        return report

    def is_ready(self) -> bool:
        """Say whether what is known now, without asking, is a GO."""
        return self._checks.last().ok

    def get_status(self) -> dict[str, Any]:
        """Return what is known now, without asking; ``details`` tells reason, seconds and age of each."""
        report, last = self._checks.last(), self._last
        passed = sum(result.ok for result in report.results)
        return {
            "is_ready": report.ok,
            "last_check": None if last is None else isoformat(last),
            "checks": _passed(report),
            "total_checks": len(report.results),
            "passed_checks": passed,
            "failed_checks": len(report.results) - passed,
            "reason": report.reason,
            "details": {
                result.name: {
                    "ok": result.ok,
                    "reason": result.reason,
                    "critical": result.critical,
                    "seconds": result.seconds,
                    "age": result.age,
                }
                for result in report.results
            },
        }

    def close(self) -> None:
        """Be ready no more."""
        self._checks.close()


def _passed(report: Report) -> dict[str, bool]:
    return {result.name: result.ok for result in report.results}
