"""What a failed run may change by declaration: one registry, in one transaction, through the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from valhalla.features.operations.deployments.smoke.contracts import GOVERNED, Order, Remedy
from valhalla.features.operations.deployments.smoke.errors import RemedyImpossible
from valhalla.kernel.principal import Principal
from valhalla.kit.registry import Change, Registry

Accept = Callable[[Connection, Principal, Sequence[Change]], None]


class Remedies:
    """Executes orders; a feature that knows better than its registry's plain rollback ``offer``\\ s its own way."""

    def __init__(self, registry: Callable[[str], Registry[Any] | None]) -> None:
        self._registry = registry
        self._own: dict[str, Remedy] = {}
        self._accept: dict[str, Accept] = {}

    def offer(self, registry: str, remedy: Remedy) -> None:
        """Let ``remedy`` execute what is ordered of a registry: the guard wraps it here, too."""
        self._own[registry] = remedy

    def accept(self, registry: str, accept: Accept) -> None:
        """Have changes of a registry looked at by what its own routes have look at them; raising undoes them."""
        self._accept[registry] = accept

    def revisions(self, conn: Connection) -> Mapping[str, int]:
        """Return where every registry stands that an order may change."""
        there = ((name, self._registry(name)) for name in GOVERNED)
        return {name: registry.revision(conn) for name, registry in there if registry is not None}

    def execute(self, conn: Connection, order: Order) -> dict[str, Any]:
        """Do what is ordered and return what was done.

        Raises:
            Problem: the registry's own routes would refuse it; the transaction is to be rolled back.
        """
        return {**told(order), "done": True, **self._own.get(order.undo.registry, self._plain)(conn, order)}

    def plan(self, conn: Connection, order: Order) -> dict[str, Any]:
        """Return what ``execute`` would return, and leave nothing behind.

        Raises:
            Problem: it would be refused.
        """
        trial = conn.begin_nested()
        try:
            return self.execute(conn, order)
        finally:
            trial.rollback()

    def _plain(self, conn: Connection, order: Order) -> Mapping[str, Any]:
        undo = order.undo
        registry = self._registry(undo.registry)
        if registry is None:
            raise RemedyImpossible(f"this control plane has no registry {undo.registry!r}")
        if undo.action == "rollback":
            if order.revision is None:
                raise RemedyImpossible(
                    "the suite names no revision, and the run is linked to no deployment that has one"
                )
            changes = registry.rollback(conn, order.revision, key=undo.key, actor=order.actor, reason=order.reason)
        else:
            assert undo.key is not None
            registry.lock(conn)
            record = registry.get(conn, undo.key)
            changes = [registry.put(conn, undo.key, _disabled(record.value), actor=order.actor, reason=order.reason)]
        changed = [change for change in changes if change.changed]
        if changed and undo.registry in self._accept:
            who = Principal(order.actor, order.actor, frozenset({GOVERNED[undo.registry]}), kind="system")
            self._accept[undo.registry](conn, who, changed)
        return {"changed": len(changed), "now": max((change.revision for change in changed), default=None)}


def told(order: Order) -> dict[str, Any]:
    """Return what a run's record says of an order, before it says what came of it."""
    undo = order.undo
    return {"action": undo.action, "registry": undo.registry, "key": undo.key, "revision": order.revision}


def _disabled(value: msgspec.Struct) -> msgspec.Struct:
    members = value.__struct_fields__
    if "killed" in members:
        return msgspec.structs.replace(value, killed=True)
    if "enabled" in members:
        return msgspec.structs.replace(value, enabled=False)
    raise RemedyImpossible("its records cannot be disabled")
