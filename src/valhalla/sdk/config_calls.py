"""Configuration: what holds in an environment, and documents of all of it."""

from __future__ import annotations

from typing import Any

from valhalla.sdk.groups import AsyncGroup, Call, Group
from valhalla.sdk.wire import Request, params

Document = dict[str, Any]
_NEWS: Any = Document | None
# nothing changed in time
_SAME = frozenset({304})


def values(
    *, environment: str | None = None, watch: str | None = None, wait: float | None = None
) -> Request[Document | None]:
    """Give every value of an environment at once; with ``watch`` when there is another revision."""
    return Request(
        "GET",
        "/system/config/values",
        _NEWS,
        params=params(environment=environment, watch=watch, wait=wait),
        accept=_SAME,
        timeout=None if wait is None else wait + 10,
    )


def dump(*, form: str | None = None) -> Request[Document]:
    """Write every entry as JSON, TOML or YAML."""
    return Request("GET", "/system/config/export", Document, params=params(form=form))


def load(*, form: str | None = None, dry_run: bool | None = None, reason: str | None = None) -> Request[Document]:
    """Create or replace the entries of a document, all or none; others stay as they are."""
    return Request("POST", "/system/config/import", Document, params=params(form=form, dry_run=dry_run, reason=reason))


class _ConfigOperations:
    """What both kinds of client have."""

    values = Call(values)
    dump = Call(dump)
    load = Call(load)


class ConfigOperations(Group, _ConfigOperations):
    """Configuration: what holds in an environment, and documents of all of it."""


class AsyncConfigOperations(AsyncGroup, _ConfigOperations):
    """Configuration: what holds in an environment, and documents of all of it."""
