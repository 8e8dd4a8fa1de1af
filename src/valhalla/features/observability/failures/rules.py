"""What makes two unexpected errors the same, and what is kept of one. Pure; never raises."""

from __future__ import annotations

import sysconfig
import traceback
from collections import deque
from types import FrameType, TracebackType
from typing import Final, cast

from valhalla.kernel.alerting import fingerprint as hashed
from valhalla.kit.redact import text

_FRAMES: Final = 3
_SHOWN: Final = 30
_SAMPLE: Final = 8_192
_MESSAGE: Final = 500
_LIBRARIES: Final = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


def cause(error: BaseException) -> BaseException:
    """Return the first error inside a group, which is what somebody has to look at."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("tuple[BaseException, ...]", error.exceptions)[0]
    return error


def kind(error: BaseException) -> str:
    """Return the name of the type, with its module unless it is built in."""
    found = type(error)
    name = found.__qualname__ if found.__module__ == "builtins" else f"{found.__module__}.{found.__qualname__}"
    return name[:200]


def places(error: BaseException) -> tuple[str, ...]:
    """Return the innermost functions of the program's own that the error came through, the last one first.

    Libraries' functions count only where there are no others. Lines are left out: an edit above must not make the
    same error a new one.
    """
    own: deque[str] = deque(maxlen=_FRAMES)
    others: deque[str] = deque(maxlen=_FRAMES)
    step: TracebackType | None = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        (own if _is_own(frame) else others).append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}")
        step = step.tb_next
    return tuple(reversed(own or others)) or ("?",)


def fingerprint(error: BaseException, where: tuple[str, ...], route: str) -> str:
    """Return what is equal for two occurrences of the same error."""
    return hashed(kind(error), {"route": route, "places": "\n".join(where)})


def message(error: BaseException) -> str:
    """Return what the error says, without what looks like a secret, in 500 characters."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an error of ours may be the one whose text cannot be made
        said = "(it cannot say what it is)"
    return text(said, limit=_MESSAGE)


def sample(error: BaseException) -> str:
    """Return the traceback without values of variables and without what looks like a secret, bounded."""
    try:
        # the innermost frames: the outer ones are the server's
        shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=-_SHOWN, compact=True)
        lines = "".join(shown.format())
    except Exception:  # noqa: BLE001 - see above
        lines = f"{kind(error)}: (its traceback cannot be made)"
    # the end says what happened
    return text(lines[-_SAMPLE:], limit=_SAMPLE)


def _is_own(frame: FrameType) -> bool:
    name: object = frame.f_globals.get("__name__", "")
    if isinstance(name, str) and name.partition(".")[0] == "valhalla":
        # also where it is installed among libraries; but everything comes through the gate
        return not name.startswith("valhalla.gate.")
    file = frame.f_code.co_filename
    return not file.startswith(("<", *_LIBRARIES))
