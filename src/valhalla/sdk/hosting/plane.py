"""Coming and going: the first user starts the supervisor and with it the control plane, the last wakes it to stop."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from valhalla.sdk.discovery import Control, process_runs, read_control, start_ticks
from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.hosting.home import Home

_LOOK_EVERY: Final = 0.02
_STOP_WITHIN: Final = 20.0
# nothing in it is worth keeping: a fresh one now and then keeps the ledger of all these sandboxes small
_FRESH_AFTER: Final = 24 * 3600
_TAIL: Final = 20
# everything else that a project sets for its own control plane (servers, ports, keys) must not reach this one
_PASSED_ON: Final = ("VALHALLA_LOG_LEVEL",)


class StartFailed(ValhallaError):  # noqa: N818 - reads as what it is
    """The shared control plane did not start; the message ends with the end of its log.

    ``ended`` tells that it ended by itself, and was not merely slow.
    """

    def __init__(self, message: str, *, ended: bool) -> None:
        super().__init__(message)
        self.ended = ended


def join(home: Home, *others: tuple[int, int | None], settings: Mapping[str, str], timeout: float = 90) -> Control:
    """Become a user, and start the control plane unless it runs; ``others`` are users of the same run.

    Raises:
        StartFailed: it does not start.
    """
    with home.locked():
        for pid, started in ((os.getpid(), start_ticks(os.getpid())), *others):
            home.enter(pid, started)
        control = read_control(home.data)
        if control is not None and control.is_running:
            return control
        _throw_away_old(home.data)
        try:
            return _start(home, settings, timeout)
        except StartFailed as failure:
            # what a power cut has left of it is thrown away as well; a second failure has another reason
            if not failure.ended:
                raise
            shutil.rmtree(home.data, ignore_errors=True)
            return _start(home, settings, timeout)


def leave(home: Home) -> None:
    """Be a user no more. The last one returns when the control plane has stopped."""
    home.exit(os.getpid(), start_ticks(os.getpid()))
    record = home.read()
    if record is None:
        return
    until = time.monotonic() + _STOP_WITHIN
    woken = False
    while _runs(record) and not home.in_use() and time.monotonic() < until:
        if not woken:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record["pid"], signal.SIGUSR1)
            woken = True
        time.sleep(_LOOK_EVERY)


def _start(home: Home, settings: Mapping[str, str], timeout: float) -> Control:
    home.data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
    log = home.state / "control.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    kept = {name: value for name, value in os.environ.items() if _is_passed_on(name)}
    try:
        supervisor = subprocess.Popen(
            # -P: a file in the current directory must not shadow a module
            [sys.executable, "-P", "-m", "valhalla.sdk.hosting.supervisor", str(home.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            cwd=home.state,
            env=kept | {f"VALHALLA_{name.upper()}": value for name, value in settings.items()},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    until = time.monotonic() + timeout
    while time.monotonic() < until and supervisor.poll() is None:
        control = read_control(home.data)
        # it records itself when it listens
        if control is not None and control.is_running:
            _reap_later(supervisor)
            return control
        time.sleep(_LOOK_EVERY)
    ended = supervisor.poll() is not None
    if not ended:
        supervisor.terminate()
        supervisor.wait()
    lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
    raise StartFailed(
        "\n".join([f"the control plane for the tests did not start; the end of {log}:", *lines]), ended=ended
    )


def _reap_later(supervisor: subprocess.Popen[bytes]) -> None:
    # it outlives us or ends when we are about to: Popen would warn about a child that still runs
    supervisor.returncode = 0


def _is_passed_on(name: str) -> bool:
    # PYTEST_* and coverage's own variables would make the child believe that it is a test
    return name in _PASSED_ON or not name.startswith(("VALHALLA_", "PYTEST_", "COV_CORE_", "COVERAGE_"))


def _throw_away_old(data: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if time.time() - (data / "cell.key").stat().st_mtime > _FRESH_AFTER:
            shutil.rmtree(data)


def _runs(record: Mapping[str, Any]) -> bool:
    return process_runs(int(record["pid"]), record["started"])
