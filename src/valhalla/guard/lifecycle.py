"""The life of a guarded action as a declared state machine.

``proposed`` is never stored: ``begin`` answers it by a replay, a denial, a held row or an executing row.
"""

from __future__ import annotations

from typing import Final

from valhalla.kernel.lifecycle import Lifecycle

LIFECYCLE: Final = Lifecycle(
    "action",
    initial="proposed",
    transitions={
        "proposed": frozenset({"replayed", "denied", "held", "executing"}),
        "replayed": frozenset(),
        "held": frozenset({"approved", "denied", "expired", "cancelled", "superseded"}),
        # a person may think better of an approval until the moment of its dispatch
        "approved": frozenset({"executing", "denied", "expired", "cancelled", "stale"}),
        "denied": frozenset(),
        "expired": frozenset(),
        "cancelled": frozenset(),
        "superseded": frozenset(),
        "stale": frozenset(),
        "executing": frozenset({"succeeded", "failed", "not_done", "indeterminate"}),
        # again under a new generation: only an idempotent action, or one that its reconcile found not done
        "indeterminate": frozenset({"succeeded", "failed", "not_done", "executing"}),
        # the key is free: the same call begins anew, and needs its people anew
        "not_done": frozenset({"executing", "held"}),
        "succeeded": frozenset(),
        "failed": frozenset(),
    },
)
