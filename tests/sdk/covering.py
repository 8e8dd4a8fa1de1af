"""Calls every method of a client with arguments of the declared types, and notes what it would send."""

from __future__ import annotations

import asyncio
import inspect
import re
import types
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import valhalla
from valhalla.sdk.registries import REGISTRIES
from valhalla.sdk.wire import Request

Sent = set[tuple[str, str]]


class SentError(Exception):
    """Nothing is answered: what was sent is all that is wanted."""


class Wire:
    """In place of a client's transport."""

    def __init__(self) -> None:
        self.sent: Sent = set()

    def exchange(self, request: Request[Any]) -> Any:
        self.sent.add((request.method, request.path))
        raise SentError

    def lines(self, path: str, *_: Any) -> Any:
        self.sent.add(("GET", path))
        raise SentError

    text = lines


class AsyncWire(Wire):
    async def exchange(self, request: Request[Any]) -> Any:
        return super().exchange(request)

    async def text(self, path: str, *_: Any) -> Any:
        return super().lines(path)


def value(hint: Any) -> Any:
    """Return something of a type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return args[0]
    if origin in (Union, types.UnionType):
        return value(next(each for each in args if each is not type(None)))
    kind = origin or hint
    if kind is datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)
    if kind in (Mapping, dict):
        return {}
    if kind in (Sequence, list, tuple):
        return ["x"]
    simple = {str: "x", int: 1, float: 1.0, bool: False, timedelta: timedelta(1), Path: Path("x"), bytes: b"x"}
    if kind in simple:
        return simple[kind]
    if isinstance(kind, type) and issubclass(kind, tuple | object) and hasattr(kind, "__struct_fields__"):
        hints = get_type_hints(kind)
        return kind(**{name: value(hints[name]) for name in kind.__struct_fields__})
    return "x"


def arguments(method: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return what a method needs to be called with."""
    with suppress(Exception):
        hints = get_type_hints(method)
    hints = locals().get("hints", {})
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for each in inspect.signature(method).parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            positional.append(value(hints.get(each.name, str)))
        elif each.default is not each.empty or each.kind is each.VAR_KEYWORD:
            continue
        elif each.kind is each.KEYWORD_ONLY:
            named[each.name] = value(hints.get(each.name, str))
        else:
            positional.append(value(hints.get(each.name, str)))
    return positional, named


def methods(thing: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the public methods of a client, and of what its attributes are."""
    for name in dir(thing):
        if name.startswith("_") or (
            depth == 0 and name in ("send", "document", "lines", "close", "registry", "endpoint", "calls")
        ):
            continue
        member = getattr(thing, name)
        if callable(member):
            yield member
        elif depth < 2 and type(member).__module__.startswith("valhalla.sdk"):
            yield from methods(member, depth + 1)


def sent_by(client: valhalla.Client) -> Sent:
    """Return everything that a client can send."""
    wire: Any = Wire()
    client._transport = wire
    for method in (*methods(client), *(m for name in REGISTRIES for m in methods(client.registry(name)))):
        for optional in (False, True):
            with suppress(Exception):
                positional, named = arguments(method)
                found = method(*positional, **named, **(_optional(method) if optional else {}))
                if isinstance(found, Iterator):
                    next(found)
                elif isinstance(found, AbstractContextManager):
                    found.__enter__()
    return wire.sent


async def sent_by_async(client: valhalla.AsyncClient) -> Sent:
    """Return everything that an asynchronous client can send."""
    wire: Any = AsyncWire()
    client._transport = wire
    for method in (*methods(client), *(m for name in REGISTRIES for m in methods(client.registry(name)))):
        for optional in (False, True):
            with suppress(Exception):
                positional, named = arguments(method)
                found = method(*positional, **named, **(_optional(method) if optional else {}))
                async with asyncio.timeout(1):
                    if inspect.isawaitable(found):
                        await found
                    elif isinstance(found, AsyncIterator):
                        await anext(found)
                    elif isinstance(found, AbstractAsyncContextManager):
                        await found.__aenter__()
    return wire.sent


def _optional(method: Any) -> dict[str, Any]:
    """Return the first optional names of things (``key``, ``ref``): some methods have a path with and one without."""
    parameters = inspect.signature(method).parameters
    return {name: "x" for name in ("key", "ref") if name in parameters and parameters[name].default is None}


def uncovered(paths: Mapping[str, Mapping[str, Any]], sent: Sent) -> list[str]:
    """Return the operations of a description that are not among what was sent."""
    missing: list[str] = []
    fixed = {path for path in paths if "{" not in path}
    for path, item in paths.items():
        shape = re.compile(re.sub(r"\{[^}]*\}", r"[^/]+", path))
        for method in item:
            found = any(
                method.upper() == verb and (address == path or (address not in fixed and shape.fullmatch(address)))
                for verb, address in sent
            )
            if not found:
                missing.append(f"{method.upper()} {path}")
    return missing
