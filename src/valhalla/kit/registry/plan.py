"""What a set of edits would change, given the records as they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from valhalla.kernel.problems import NotFound, PreconditionFailed
from valhalla.kit.registry.contracts import Body, Change


@dataclass(frozen=True, slots=True)
class Edit:
    """A wanted edit with its encoded body; ``None`` deletes."""

    key: str
    body: Body | None
    expect_version: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A record as it is."""

    body: Body
    version: int


@dataclass(frozen=True, slots=True)
class Why:
    """Who edits, and the rest of what history keeps about it."""

    actor: str
    reason: str | None
    at: datetime
    correlation_id: str | None
    dry_run: bool


def plan(name: str, revision: int, held: Mapping[str, Held], edits: Sequence[Edit], why: Why) -> list[Change]:
    """Return one change per edit, in order; each sees what those before it did.

    Raises:
        PreconditionFailed: a record is not at the expected version.
        NotFound: a record to delete does not exist.
    """
    now = dict(held)
    planned: list[Change] = []
    for edit in edits:
        current = now.get(edit.key)
        _check(name, edit, current)
        before = current.body if current else None
        changed = (edit.body is None) != (before is None) or not same(edit.body, before)
        if changed:
            revision += 1
            if edit.body is None:
                del now[edit.key]
            else:
                now[edit.key] = Held(edit.body, revision)
        planned.append(_change(name, revision, edit, before, why, changed=changed))
    return planned


def same(one: Any, other: Any) -> bool:
    """Compare JSON values by type too: ``true`` is not ``1``."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(same(v, right[k]) for k, v in left.items())
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(cast("list[Any]", one), cast("list[Any]", other), strict=False)
        return len(cast("list[Any]", one)) == len(cast("list[Any]", other)) and all(same(a, b) for a, b in pairs)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def members(before: Body | None, after: Body | None) -> dict[str, Any]:
    """Return the members that differ, as ``{name: {"from": …, "to": …}}``."""
    old, new = before or {}, after or {}
    names = sorted(old.keys() | new.keys())
    return {
        n: {"from": old.get(n), "to": new.get(n)}
        for n in names
        if (n in old) != (n in new) or not same(old.get(n), new.get(n))
    }


def _check(name: str, edit: Edit, current: Held | None) -> None:
    if edit.expect_version is not None and edit.expect_version != (current.version if current else 0):
        found = f"is at version {current.version}" if current else "does not exist"
        wanted = f"version {edit.expect_version}" if edit.expect_version else "no record"
        raise PreconditionFailed(
            f"{name} '{edit.key}' {found}, {wanted} was expected",
            key=edit.key,
            version=current.version if current else None,
        )
    if edit.body is None and current is None:
        raise NotFound(f"there is no {name} '{edit.key}'", key=edit.key)


def _change(name: str, revision: int, edit: Edit, before: Body | None, why: Why, *, changed: bool) -> Change:
    op: Literal["put", "delete"] = "put" if edit.body is not None else "delete"
    return Change(
        registry=name,
        revision=revision,
        op=op,
        key=edit.key,
        before=before,
        after=edit.body,
        actor=why.actor,
        reason=why.reason,
        at=why.at,
        correlation_id=why.correlation_id,
        changed=changed,
        dry_run=why.dry_run,
    )
