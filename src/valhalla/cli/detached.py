"""The control plane in the background: started in a session of its own and watched until it is ready."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valhalla.cli.failures import Refusal
from valhalla.cli.serving import Serving
from valhalla.sdk.discovery import Control, read_control

_LOOK_EVERY: Final = 0.02
_TAIL: Final = 20


@dataclass(frozen=True, slots=True)
class Started:
    """A control plane that is ready; ``admin_key`` on the first start of its data directory only."""

    control: Control
    admin_key: str | None


def start(data_dir: Path, serving: Serving, timeout: float) -> Started:
    """Start, and return when it answers.

    Raises:
        Refusal: it died, and the end of its log says why, or it did not get ready in time.
    """
    logs = data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file = data_dir / "admin.key"
    first = not key_file.exists()
    log = logs / "control.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begin = log.stat().st_size
    try:
        process = _spawn(data_dir, serving, descriptor)
    finally:
        os.close(descriptor)
    try:
        control = _wait(process, data_dir, timeout, lambda: _tail(log, begin))
    except BaseException:
        # also on Ctrl-C: what was not reported as started must not run
        _end(process)
        raise
    return Started(control, key_file.read_text().strip() if first and key_file.exists() else None)


def _spawn(data_dir: Path, serving: Serving, log: int) -> subprocess.Popen[bytes]:
    config = ["--config", str(serving.config)] if serving.config else []
    # -P: a file in the current directory must not shadow a module
    command = [sys.executable, "-P", "-m", "valhalla.cli", "--data-dir", str(data_dir), "up", *config]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # stdout is where a first start prints the admin key, which no log may hold
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, **serving.environment()},
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], data_dir: Path, timeout: float, tail: Callable[[], str]) -> Control:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Refusal("start-failed", f"the control plane ended with code {process.returncode}", tail())
        control = read_control(data_dir)
        if control is not None and control.pid == process.pid and control.is_running and _answers(control):
            return control
        time.sleep(_LOOK_EVERY)
    raise Refusal("start-timeout", f"the control plane was not ready within {timeout:g} s", tail())


def _answers(control: Control) -> bool:
    from valhalla.sdk import calls
    from valhalla.sdk.errors import ValhallaError
    from valhalla.sdk.transport import Transport

    if control.url.startswith("https:"):
        # its certificate may be one that this machine does not trust; it records itself when it listens
        return True
    transport = Transport(control.url, None, timeout=2)
    try:
        transport.exchange(calls.live())
    except ValhallaError:
        return False
    finally:
        transport.close()
    return True


def _tail(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    shown = "\n".join(f"    {line}" for line in lines[-_TAIL:])
    return f"The end of {log}:\n{shown}" if shown else f"Its log, {log}, is empty; 'valhalla up' shows more."


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if process.poll() is None:
        process.kill()
        process.wait()
