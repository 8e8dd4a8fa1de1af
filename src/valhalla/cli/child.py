"""One program as a child: signals pass through, and its ending becomes ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Final, Self

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

    def run(self, program: Sequence[str], env: Mapping[str, str]) -> int:
        """Run to the end and return the exit code as a shell gives it.

        A signal that came before the start keeps the program from being started.
        """
        if self._waiting:
            return 128 + self._waiting[0]
        try:
            self._process = subprocess.Popen(program, env=dict(env))
        except FileNotFoundError:
            sys.stderr.write(f"valhalla: {program[0]}: not found\n")
            return NOT_FOUND
        except OSError as error:
            sys.stderr.write(f"valhalla: {program[0]}: {error.strerror}\n")
            return NOT_EXECUTABLE
        for number in self._waiting:
            self._process.send_signal(number)
        code = self._process.wait()
        return 128 - code if code < 0 else code

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
