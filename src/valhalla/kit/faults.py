"""Named places where a crash test kills the process; they do nothing unless the environment names one.

``VALHALLA_CRASH_AT=create.valkey`` ends the process with SIGKILL the first time it gets there.
"""

from __future__ import annotations

import os
import signal

_AT = os.environ.get("VALHALLA_CRASH_AT")


def crashpoint(name: str) -> None:
    """Die here, unannounced, if the environment asks for it."""
    if _AT is not None and name == _AT:
        os.kill(os.getpid(), signal.SIGKILL)
