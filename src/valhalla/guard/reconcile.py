"""What becomes of an action of which nobody knows whether it happened: its ``reconcile=`` is asked, else a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard import rules
from valhalla.guard.contracts import CasRequest, Field, Record
from valhalla.guard.declaration import Declaration
from valhalla.guard.outcome import Outcome
from valhalla.guard.steps import Invoke, Steps

if TYPE_CHECKING:
    from valhalla.guard.calls import Call
    from valhalla.guard.guard import Guard

_UNKNOWN: Final = frozenset({"indeterminate"})


class Finding(Enum):
    """What ``reconcile=`` may return besides ``Done(value)``."""

    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Done:
    """Returned by ``reconcile=``: the effect happened, with this result."""

    value: Any = None


def reconcile(
    guard: Guard, declared: Declaration, record: Record, call: Call | None = None
) -> Steps[Outcome[Any] | None]:
    """Ask the declaration's ``reconcile`` with the row. ``None`` means that the key is free: begin again.

    Only ``Done`` and ``Finding.NOT_DONE`` settle; anything else, also an exception, leaves the end unknown.
    """
    if declared.reconcile is None:
        return rules.answer(record, guard.store.codec)
    try:
        found = yield Invoke(declared.reconcile, (record,), None, None if call is None else call.scope_left())
    except Exception as error:  # noqa: BLE001 - an unreachable provider settles nothing
        found, why = Finding.UNKNOWN, f"reconcile: {type(error).__name__}"
    else:
        why = "reconcile"
    if not isinstance(found, Done) and found is not Finding.NOT_DONE:
        return rules.answer(record, guard.store.codec)
    patch: dict[Field, Any] = {"evidence": why}
    if isinstance(found, Done):
        patch["value"], patch["reason"] = rules.keep_value(guard.store.codec, found.value)
    result = yield CasRequest(
        record.id,
        _UNKNOWN,
        "succeeded" if isinstance(found, Done) else "not_done",
        "reconciled",
        "reconcile",
        generation=record.generation,
        version=record.version,
        patch=patch,
    )
    if result.record is None or not isinstance(found, Done):
        return None
    return rules.answer(result.record, guard.store.codec)
