"""The interpreter's audit hook (L3): what Python code itself does, judged before it happens.

A hook cannot be removed again, so there is one for the process; outside of seals it costs one lookup per event.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress.audit import files, lines, process, sockets
from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import active

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

Check = Callable[["Seal", tuple[Any, ...]], None]
CHECKS: Final[Mapping[str, Check]] = {
    **sockets.CHECKS,
    **lines.CHECKS,
    **process.CHECKS,
    **files.CHECKS,
}
_INSTALLED: Final = threading.Event()
_INSTALLING: Final = threading.Lock()


def install() -> None:
    """Add the hook, once per process."""
    with _INSTALLING:
        if not _INSTALLED.is_set():
            sys.addaudithook(_hook)
            _INSTALLED.set()


def _hook(
    event: str, args: tuple[Any, ...], find: Callable[[str], Check | None] = CHECKS.get
) -> None:  # a default is faster than a global
    check = find(event)
    if check is None:
        return
    seal = active()
    if seal is not None and Layer.AUDIT in seal.layers:
        check(seal, args)
