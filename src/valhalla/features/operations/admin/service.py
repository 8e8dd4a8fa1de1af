"""The use cases of the admin API: the catalogue, an execution with its entries in the ledger, what was executed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from valhalla.features.operations.admin import rules
from valhalla.features.operations.admin.contracts import KIND, WRITE, AdminAction, Done, Executor, Order
from valhalla.features.operations.admin.errors import UnknownAdminAction
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem
from valhalla.kit.db import Database
from valhalla.kit.ledger import Entry, Ledger
from valhalla.kit.log import get_logger
from valhalla.kit.paging import Page
from valhalla.kit.writing import upkeep

Execute = Callable[[AdminAction, Order, str | None], Awaitable[Done]]
log = get_logger("admin")


class AdminService:
    """Every execution is in the ledger twice: that it was asked for, and what it came to."""

    def __init__(self, db: Database, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._executor: Executor | None = None
        self._actions: dict[str, AdminAction] = {}

    @property
    def executor(self) -> Executor:
        """Who executes.

        Raises:
            Problem: nobody does in this process.
        """
        if self._executor is None:
            raise Problem("no guard executes admin actions here")
        return self._executor

    def compose(self, actions: Iterable[AdminAction], executor: Executor) -> None:
        """Take the actions of every feature.

        Raises:
            ValueError: two have one name.
        """
        self._executor = executor
        for action in actions:
            if action.name in self._actions:
                raise ValueError(f"two admin actions are called '{action.name}'")
            noted = replace(action, run=self._noting(action))
            self._actions[action.name] = noted
            executor.declare(noted)

    def actions(self) -> list[AdminAction]:
        """Return the catalogue, by name."""
        return [self._actions[name] for name in sorted(self._actions)]

    def find(self, name: str) -> AdminAction | None:
        """Return one action, None if there is none of this name."""
        return self._actions.get(name)

    def get(self, name: str) -> AdminAction:
        """Return one action.

        Raises:
            UnknownAdminAction: there is none of this name.
        """
        action = self._actions.get(name)
        if action is None:
            raise UnknownAdminAction(f"there is no admin action {name[:100]!a}")
        return action

    async def execute(
        self,
        principal: Principal,
        name: str,
        arguments: Mapping[str, Any],
        *,
        reason: str,
        key: str | None = None,
        dry_run: bool = False,
        by: Execute | None = None,
    ) -> tuple[str, Done]:
        """Execute an action; return the operation's id and what it came to. A dry run writes nothing at all.

        ``by`` executes instead of the executor, such as who holds it for people in any case.

        Raises:
            UnknownAdminAction, Forbidden, Invalid: as they say; nothing was done.
            Problem: the guard refused, or the action failed.
        """
        principal.require(WRITE)
        action = self.get(name)
        principal.require(action.scope)
        rules.check_arguments(action.schema, arguments)
        order = Order(new_id(), principal, dict(arguments), reason)
        if dry_run:
            return order.id, Done("planned", None if action.preview is None else await action.preview(order))
        await self._note(order, name, "requested", arguments=dict(arguments), reason=reason)
        try:
            done = await (by or self.executor.execute)(action, order, key)
        except Problem as problem:
            await self._told(order, name, "refused" if problem.status < 500 else "failed", code=problem.code)
            raise
        except Exception as error:
            await self._told(order, name, "failed", code=type(error).__name__)
            raise
        if done.status != "succeeded":
            await self._told(order, name, done.status, hold=done.hold)
        return order.id, done

    async def operations(
        self, *, actor: str | None, subject: str | None, action: str | None, limit: int, cursor: str | None
    ) -> Page[Entry]:
        """Return what was asked for and what it came to, newest first.

        Raises:
            Invalid: the cursor was not made here.
        """
        return await self._db.read(
            self._ledger.page, kind=KIND, actor=actor, subject=subject, action=action, limit=limit, cursor=cursor
        )

    def _noting(self, action: AdminAction) -> Any:
        """Let the ledger know of the execution where it happens: of an approved one that is another process, later."""

        async def run(order: Order) -> Mapping[str, Any]:
            value = await action.run(order)
            await self._told(order, action.name, "succeeded")
            return value

        return run

    async def _note(self, order: Order, name: str, step: str, **details: Any) -> None:
        def work(conn: Connection) -> None:
            self._ledger.append(
                conn,
                actor=order.principal.id,
                action=f"admin.{step}",
                kind=KIND,
                subject=order.id,
                details={"action": name} | {key: value for key, value in details.items() if value is not None},
            )

        await self._db.run(work)

    async def _told(self, order: Order, name: str, step: str, **details: Any) -> None:
        # what was done is done: that it cannot be written down must not make it look undone
        try:
            # also of the one that closed writes
            with upkeep():
                await self._note(order, name, step, **details)
        except Problem as problem:
            log.error("an admin operation is not in the ledger", operation=order.id, step=step, error=problem.detail)
