"""Programs to confine."""

from __future__ import annotations

import sys


def python(script: str) -> tuple[str, ...]:
    """Return the command line of a script."""
    # -S: without site, so that the kernel's layer stands alone
    return (sys.executable, "-S", "-c", script)
