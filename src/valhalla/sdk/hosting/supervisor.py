"""The parent of a shared control plane: ``python -m valhalla.sdk.hosting.supervisor DATA_DIR``.

It looks every two seconds whether any user lives, and stops the control plane when none does: a user that was killed
cannot say goodbye. SIGUSR1 makes it look at once. If it is killed itself, the kernel stops the control plane.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from valhalla.sdk.discovery import start_ticks
from valhalla.sdk.hosting.home import Home

LOOK_EVERY: Final = 2.0
_PATIENCE: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1


def main(data: Path) -> int:
    """Run until the control plane has ended, for whichever reason; return its exit status."""
    home = Home(data)
    bell, clapper = socket.socketpair()
    _ring(clapper)
    parent = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "valhalla.cli", "--data-dir", str(data), "up"],
        # stdout is where a first start prints the admin key, which no log may hold
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509 - there is no second thread
    )
    home.write({"pid": os.getpid(), "started": start_ticks(os.getpid())})
    while process.poll() is None:
        select.select([bell], [], [], LOOK_EVERY)
        while select.select([bell], [], [], 0)[0]:
            bell.recv(64)
        # under the lock: whoever comes now waits until it has ended, and starts it anew. Not waiting for the lock:
        # its holder may wait for the start, and must be told when that failed
        with home.locked(wait=False) as alone:
            if alone and process.poll() is None and not home.in_use():
                _stop(process)
    return process.returncode


def _ring(clapper: socket.socket) -> None:
    """Let the socket's other end have something to read after SIGUSR1, and when the child has ended."""
    clapper.setblocking(False)
    signal.set_wakeup_fd(clapper.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
