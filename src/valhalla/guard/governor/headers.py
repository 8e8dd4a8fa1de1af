"""``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-11), as pure text."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable

from valhalla.guard.governor.decision import Decision
from valhalla.guard.governor.limits import Limit


def headers(limits: Iterable[Limit], decision: Decision, partition: str | None = None) -> dict[str, str]:
    """Return ``RateLimit-Policy``, ``RateLimit`` and, for a refusal that passes, ``Retry-After``.

    ``partition`` names whose quota it is (``pk``). Shadow limits are not told. Seconds are rounded up, so that nobody
    comes too early; the reset of the limit that refused is the instant that ``Retry-After`` names, as the draft asks.
    """
    key = "" if partition is None else f";pk=:{base64.b64encode(partition.encode()).decode()}:"
    shown = {name: (remaining, reset) for name, remaining, reset in decision.policies}
    told = [limit for limit in limits if limit.name in shown and not limit.shadow]
    made: dict[str, str] = {}
    if told:
        made["RateLimit-Policy"] = ", ".join(
            f'"{limit.name}";q={limit.capacity};w={max(1, math.ceil(limit.window))}{key}' for limit in told
        )
        made["RateLimit"] = ", ".join(_state(limit.name, *shown[limit.name], decision) + key for limit in told)
    if decision.retry_after:
        made["Retry-After"] = str(math.ceil(decision.retry_after))
    return made


def _state(name: str, remaining: int, reset: float, decision: Decision) -> str:
    seconds = decision.retry_after if decision.limit == name and decision.retry_after else reset
    return f'"{name}";r={remaining};t={math.ceil(seconds)}'
