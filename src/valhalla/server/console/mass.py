"""Does one action to many records: together where the API can do that, else one by one; each has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from valhalla.server.console import forms
from valhalla.server.console.abilities import Abilities
from valhalla.server.console.calling import Refused
from valhalla.server.console.contracts import Action, Page
from valhalla.server.console.visit import Visit

_AT_ONCE: Final = 4
_TOGETHER: Final = 250
_APART: Final = 40


class Target(NamedTuple):
    """One record as it was looked at; it is not touched once it is another."""

    key: str
    name: str
    version: int | None
    fingerprint: str


Where = Callable[[Target], str]


class Result(NamedTuple):
    """What became of one target: what was answered, or why it was refused."""

    target: Target
    document: Any
    problem: Mapping[str, Any] | None


class Mass:
    """Sends the requests."""

    def __init__(self, abilities: Abilities) -> None:
        self._abilities = abilities

    def step(self, page: Page, action: Action) -> int:
        """Return how many are done between two looks at whether somebody wants it to stop."""
        return _APART if self._abilities.together(page, action) is None else _TOGETHER

    async def do(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        targets: Sequence[Target],
        form: Mapping[str, str],
        *,
        dry: bool,
        where: Where | None = None,
    ) -> list[Result]:
        """Do it to all of them, or say what would come of it; ``where`` says of each its path, if it is no record.

        Raises:
            Invalid: what was typed cannot be read; nothing was done.
        """
        path = self._abilities.together(page, action)
        filled = forms.fill(action, self._abilities.fields(page, action), form, {})
        query = {**filled.query, **({"dry_run": "true"} if dry else {})}
        if path is None or not targets:
            return await self._apart(visit, page, action, targets, form, query, where)
        found: list[Result] = []
        for at in range(0, len(targets), _TOGETHER):
            some = targets[at : at + _TOGETHER]
            operations = [_operation(page, one) for one in some]
            try:
                sent = await visit.caller.send("POST", path, query=query, body={"operations": operations})
                found += _spread(some, sent.document())
            except Refused:
                # all or none: one by one it is told whose fault it was, and the others are done
                found += await self._apart(visit, page, action, some, form, query)
        return found

    async def _apart(
        self,
        visit: Visit,
        page: Page,
        action: Action,
        targets: Sequence[Target],
        form: Mapping[str, str],
        query: Mapping[str, Any],
        where: Where | None = None,
    ) -> list[Result]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(target: Target) -> Result:
            record = {"fingerprint": target.fingerprint}
            filled = forms.fill(action, self._abilities.fields(page, action), form, record)
            match = {} if target.version is None else {"if-match": f'"{target.version}"'}
            path = self._abilities.path(page, action, target.key) if where is None else where(target)
            try:
                async with turns:
                    answer = await visit.caller.send(action.method, path, query=query, body=filled.body, headers=match)
                    return Result(target, answer.document(), None)
            except Refused as refused:
                return Result(target, None, refused.problem)

        return list(await asyncio.gather(*map(one, targets)))


def _operation(page: Page, target: Target) -> dict[str, Any]:
    seen = {} if target.version is None else {"if_version": target.version}
    return {"op": "delete", page.key: target.key, **seen}


def _spread(targets: Sequence[Target], document: Mapping[str, Any]) -> list[Result]:
    """Return each target's own part of what was answered for all."""
    changes = {change["key"]: change for change in document["items"]}
    return [Result(one, {"items": [changes[one.key]]} if one.key in changes else None, None) for one in targets]
