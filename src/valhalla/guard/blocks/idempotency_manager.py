"""``IdempotencyManager``: one effect per key, also among callers at the same moment."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from valhalla.guard.contracts import Record, Scan
from valhalla.guard.guard import Guard
from valhalla.kernel.problems import Invalid

_NAME: Final = "idempotent"


class IdempotencyManager:
    """Runs a function once per key and gives every further call the first one's result.

    A function that raised may be tried again under its key. For an effect that must never happen twice use
    ``guard.action(..., effect="irreversible", key=...)``: there a crash in the middle is reported, not repeated.
    """

    def __init__(self, ttl_seconds: float = 3600, *, guard: Guard | None = None) -> None:
        """``ttl_seconds``: how long a result answers its key, from the moment it was there.

        Raises:
            Invalid: it is not above zero.
        """
        if not ttl_seconds > 0:
            raise Invalid("ttl_seconds must be above zero")
        self.ttl_seconds = ttl_seconds
        self._guard = guard or Guard()

    def process_idempotent(self, key: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return the key's result; call ``func`` if there is none. Callers at the same moment wait for the first.

        An async ``func`` gives an awaitable of the result.

        Raises:
            KeyReuse: the key was used with other arguments.
            BadKey, BadArguments: they cannot be told from others.
            InProgress: the first call takes longer than the guard's patience.
            Exception: what ``func`` raised.
        """
        run = self._guard.arun if inspect.iscoroutinefunction(func) else self._guard.run
        return run(_NAME, func, *args, kwargs=kwargs, key=key, effect="idempotent", ttl=self.ttl_seconds, tombstone=0.0)

    def is_duplicate(self, key: str) -> bool:
        """Say whether the key has a result."""
        return self._find(key) is not None

    def get_cached_result(self, key: str) -> Any:
        """Return a copy of the key's result; ``None`` also for one that has none (see ``is_duplicate``)."""
        record = self._find(key)
        return None if record is None else self._guard.store.codec.decode(record.value)

    def clear_expired(self) -> int:
        """Forget what is past its time; return how many were."""
        return self._guard.clear_expired()

    def __len__(self) -> int:
        """Return how many keys have a result, at most 100,000."""
        return sum(_answers(record) for record in self._guard.waiting(kind="all", name=_NAME, limit=100_000))

    def _find(self, key: str) -> Record | None:
        page = self._guard.store.scan(Scan("key", name=_NAME, key=str(key)))
        record = page.records[0] if page.records else None
        if record is None or not _answers(record) or (record.value_until or 0.0) <= page.now:
            return None
        return record


def _answers(record: Record) -> bool:
    return record.state == "succeeded" and record.value is not None
