"""One program as a child: signals pass through, and its ending becomes ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from valhalla.guard.egress.child import Confined

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
_PASSED_ON: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


class Child:
    """Keeps signals from its entry on, so that none is lost between two steps; ``run`` passes them on."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in _PASSED_ON:
            number = getattr(signal, name)
            # what our parent told us to ignore (nohup), the program ignores as well
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, program: Sequence[str], env: Mapping[str, str], confined: Confined | None = None) -> int:
        """Run to the end, ``confined`` if asked, and return the exit code as a shell gives it.

        A signal that came before the start keeps the program from being started.

        Raises:
            CannotSeal: the program cannot be confined, and was not started.
        """
        if self._waiting:
            return 128 + self._waiting[0]
        try:
            # what the new process does before it becomes the program; no thread of ours runs at that moment
            before = confined.prepare if confined is not None else None
            self._process = subprocess.Popen(program, env=dict(env), preexec_fn=before)  # noqa: PLW1509
        except FileNotFoundError:
            sys.stderr.write(f"valhalla: {program[0]}: not found\n")
            return NOT_FOUND
        except OSError as error:
            sys.stderr.write(f"valhalla: {program[0]}: {error.strerror}\n")
            return NOT_EXECUTABLE
        except subprocess.SubprocessError:
            if confined is not None:
                confined.started()
            raise
        if confined is not None:
            self._begin(confined, self._process)
        for number in self._waiting:
            self._process.send_signal(number)
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def _begin(self, confined: Confined, process: subprocess.Popen[bytes]) -> None:
        try:
            confined.started()
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _take(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._process is not None:
            if not (number in {signal.SIGINT, signal.SIGQUIT} and _terminal_sends_to_all()):
                self._process.send_signal(number)
        elif self._waiting:
            # the second Ctrl-C is meant
            raise KeyboardInterrupt
        else:
            self._waiting.append(number)


def _terminal_sends_to_all() -> bool:
    """Whether Ctrl-C reaches the child without us: sending it again would interrupt it twice."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
