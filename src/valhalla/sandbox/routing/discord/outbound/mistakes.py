"""Calls that Discord calls invalid: ten thousand in ten minutes, and it answers nobody at the address any more.

https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans: answers with 401, 403
and 429 count. Production may ask from the same address, so sandboxes are stopped long before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

_WINDOW: Final = 600.0
_INVALID: Final = frozenset({401, 403, 429})
_MOST: Final = 10_000


class Mistakes:
    """Counts by sandbox, and of all. ``each`` and ``together``: how many are allowed in ten minutes."""

    def __init__(self, each: int = 500, together: int = 4_000) -> None:
        self._each = each
        self._together = together
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._all = 0, 0.0

    def note(self, sandbox: str, status: int, scope: str | None) -> None:
        """Count an answer of Discord's. A 429 that others than the bot have caused (``shared``) is none."""
        if status not in _INVALID or (status == 429 and scope == "shared"):
            return
        if len(self._of) >= _MOST and sandbox not in self._of:
            self._of.popitem(last=False)
        self._of[sandbox] = _more(self._of.get(sandbox))
        self._all = _more(self._all)

    def wait(self, sandbox: str) -> float:
        """Return in how many seconds a sandbox may ask again; 0: now. Who shows no sandbox's token counts as one."""
        now = time.monotonic()
        found = [self._all[1]] if self._all[0] >= self._together else []
        count, until = self._of.get(sandbox, (0, 0.0))
        # all who answer interactions: what one of them does wrong is not the others'
        if count >= self._each and sandbox:
            found.append(until)
        return max([0.0, *(until - now for until in found)])


def _more(known: tuple[int, float] | None) -> tuple[int, float]:
    now = time.monotonic()
    if known is None or known[1] <= now:
        return 1, now + _WINDOW
    return known[0] + 1, known[1]
