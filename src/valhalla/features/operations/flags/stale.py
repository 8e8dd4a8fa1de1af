"""Flags that may have outlived their use. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from valhalla.features.operations.flags.contracts import Flag


def reasons(flag: Flag, updated_at: datetime, now: datetime, age: timedelta) -> Iterable[str]:
    """Return why a flag may be stale; ``age`` is how long one may stand unchanged."""
    if flag.expires is not None and flag.expires <= now:
        yield f"it expired at {flag.expires:%Y-%m-%d}"
    if now - updated_at < age:
        return
    days = (now - updated_at).days
    if flag.killed:
        yield f"it has been killed for {days} days"
    elif flag.state == "DISABLED" and not any(o.state == "ENABLED" for o in flag.environments.values()):
        yield f"it has been disabled for {days} days"
    elif not flag.targeting and not flag.schedule and not any(o.targeting for o in flag.environments.values()):
        defaults = {flag.defaultVariant, *(o.defaultVariant for o in flag.environments.values() if o.defaultVariant)}
        if len(defaults) == 1:
            yield f"everybody has had the same variant for {days} days"
    elif flag.schedule and all(step.at <= now - age for step in flag.schedule) and not flag.targeting:
        yield f"its schedule ended more than {age.days} days ago"
