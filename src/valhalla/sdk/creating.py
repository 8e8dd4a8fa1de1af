"""What may be said about a new sandbox, once for every method that makes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from valhalla.sdk import calls
from valhalla.sdk.models import Draft, Sandbox
from valhalla.sdk.wire import Request


class CreateArgs(TypedDict, total=False):
    """Everything but the name; what is absent or ``None`` the control plane decides."""

    owner: str | None
    template: str | None
    ttl: str | None
    description: str | None
    tags: Iterable[str]
    metadata: Mapping[str, Any] | None
    routes: Iterable[tuple[str, str]]
    slices: Iterable[str]
    idempotency_key: str | None


def creation(name: str | None, **args: Unpack[CreateArgs]) -> Request[Sandbox]:
    """Return the request that makes the sandbox; sent twice it makes one.

    Raises:
        TypeError: an argument is none of ``CreateArgs``.
    """
    # ** of a TypedDict is checked by type checkers only, and a misspelt `ttl` would be a sandbox that lives for a day
    if unknown := args.keys() - CreateArgs.__annotations__.keys():
        raise TypeError(f"a new sandbox has no {', '.join(sorted(map(repr, unknown)))}")
    draft = Draft(
        name=name,
        owner=args.get("owner"),
        template=args.get("template"),
        ttl=args.get("ttl"),
        description=args.get("description"),
        tags=tuple(args.get("tags") or ()),
        metadata=dict(args.get("metadata") or {}),
        routes=tuple(args.get("routes") or ()),
        slices=tuple(args.get("slices") or ()),
    )
    return calls.create(draft, idempotency_key=args.get("idempotency_key"))
