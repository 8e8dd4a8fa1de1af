"""The registries of a control plane: one set of calls for all of them, records as the documents they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from valhalla.sdk.models import Page
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.wire import Request, params, segment

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client

Document = dict[str, Any]

REGISTRIES: Final[Mapping[str, str]] = {
    "keys": "/system/api-clients",
    "people": "/system/people",
    "limits": "/system/rate-limits",
    "flags": "/system/flags",
    "flag-rules": "/system/flag-rules",
    "config": "/system/config",
    "windows": "/system/maintenance/windows",
    "suites": "/system/deployment/smoke/suites",
    "alert-rules": "/system/alerts/rules",
    "alert-subscriptions": "/system/alerts/subscriptions",
    "channels": "/system/notify/channels",
    "notification-rules": "/system/notify/rules",
    "notification-templates": "/system/notify/templates",
    "policies": "/system/security/policies",
    "blocklist": "/system/security/blocklist",
    "honeypots": "/system/security/honeypots",
    "decoys": "/system/security/decoys",
    "approval-chains": "/system/security/approval-chains",
    "receivers": "/system/ingress/receivers",
    "sources": "/system/event-sources",
    "retention": "/system/retention/policies",
    "retention-holds": "/system/retention/holds",
}
"""Every registry by the name that a client knows it by."""
_ELSEWHERE: Final = {"clients": "/system/api-clients", "rate-limits": "/system/rate-limits"}


class RegistryCalls:
    """The requests of one registry. ``expect`` is the version that was read; ``0`` for none; any other is refused."""

    def __init__(self, name: str) -> None:
        """``name`` is ``limits``, ``flags`` and so on, or a whole path that begins with a slash."""
        known = REGISTRIES.get(name) or _ELSEWHERE.get(name) or f"/system/{segment(name)}"
        self.path = name.rstrip("/") if name.startswith("/") else known

    def page(
        self, *, limit: int | None = None, cursor: str | None = None, q: str | None = None, **filters: object
    ) -> Request[Page[Document]]:
        """One page of records by key."""
        query = params(limit=limit, cursor=cursor, q=q)
        # a filter may well be false
        query |= {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in filters.items()
        }
        return Request("GET", self.path, Page[Document], params=query)

    def get(self, key: str) -> Request[Document]:
        """One record."""
        return Request("GET", self._at(key), Document)

    def create(
        self, record: Mapping[str, Any], *, reason: str | None = None, dry_run: bool = False
    ) -> Request[Document]:
        """Make a record; it holds its own key."""
        return self._write("POST", self.path, record, reason, dry_run)

    def put(
        self,
        key: str,
        record: Mapping[str, Any],
        *,
        expect: int | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Request[Document]:
        """Create or replace a record."""
        return self._write("PUT", self._at(key), record, reason, dry_run, expect)

    def patch(
        self,
        key: str,
        members: Mapping[str, Any],
        *,
        expect: int | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Request[Document]:
        """Change members of a record; ``None`` gives one its default back."""
        return self._write("PATCH", self._at(key), members, reason, dry_run, expect)

    def delete(
        self, key: str, *, expect: int | None = None, reason: str | None = None, dry_run: bool = False
    ) -> Request[Document | None]:
        """Remove a record."""
        query = params(reason=reason, dry_run=dry_run)
        answer: Any = Document | None
        return Request("DELETE", self._at(key), answer, params=query, headers=_match(expect))

    def bulk(
        self, operations: Sequence[Mapping[str, Any]], *, reason: str | None = None, dry_run: bool = False
    ) -> Request[Document]:
        """Do all operations or none: ``{"op": "put", key…, "value": …}`` and ``{"op": "delete", key…}``."""
        return self._write("POST", f"{self.path}/bulk", {"operations": list(operations)}, reason, dry_run)

    def history(
        self, key: str | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[Page[Document]]:
        """One page of what happened to one record or to all, newest first."""
        path = f"{self.path}/history" if key is None else f"{self._at(key)}/history"
        return Request("GET", path, Page[Document], params=params(limit=limit, cursor=cursor))

    def diff(
        self, before: int, after: int | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[Page[Document]]:
        """One page of what differs between two revisions; without ``after`` until now."""
        query = params(before=before, after=after, limit=limit, cursor=cursor)
        return Request("GET", f"{self.path}/diff", Page[Document], params=query)

    def rollback(
        self, to_revision: int, key: str | None = None, *, reason: str | None = None, dry_run: bool = False
    ) -> Request[Document]:
        """Bring all records, or one, back to what they were at a revision."""
        path = f"{self.path}/rollback" if key is None else f"{self._at(key)}/rollback"
        return self._write("POST", path, {"to_revision": to_revision}, reason, dry_run)

    def _at(self, key: str) -> str:
        return "/".join([self.path, *map(segment, key.split("/"))])

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        reason: str | None,
        dry_run: bool,
        expect: int | None = None,
    ) -> Request[Document]:
        query = params(reason=reason, dry_run=dry_run)
        return Request(method, path, Document, params=query, body=body, headers=_match(expect))


def _match(expect: int | None) -> dict[str, str]:
    if expect is None:
        return {}
    return {"If-None-Match": "*"} if expect == 0 else {"If-Match": f'"{expect}"'}


class Registry:
    """The records of one registry. Every write may be a ``dry_run``, which answers what would change."""

    def __init__(self, client: Client, name: str) -> None:
        self.calls = RegistryCalls(name)
        self._client = client

    def iterate(self, **filters: object) -> Iterator[Document]:
        """Every record, page after page; ``q`` and the registry's own filters narrow them."""
        return pages(
            self._client.send,
            lambda cursor: self.calls.page(limit=200, cursor=cursor, **filters),  # pyright: ignore[reportArgumentType]
        )

    def get(self, key: str) -> Document:
        """Return a record; its ``version`` is what ``expect`` names."""
        return self._client.send(self.calls.get(key))

    def create(self, record: Mapping[str, Any], **how: Any) -> Document:
        """Make a record; it holds its own key."""
        return self._client.send(self.calls.create(record, **how))

    def put(self, key: str, record: Mapping[str, Any], **how: Any) -> Document:
        """Create or replace a record."""
        return self._client.send(self.calls.put(key, record, **how))

    def patch(self, key: str, members: Mapping[str, Any], **how: Any) -> Document:
        """Change members of a record; ``None`` gives one its default back."""
        return self._client.send(self.calls.patch(key, members, **how))

    def delete(self, key: str, **how: Any) -> Document | None:
        """Remove a record."""
        return self._client.send(self.calls.delete(key, **how))

    def bulk(self, operations: Sequence[Mapping[str, Any]], **how: Any) -> Document:
        """Do all operations or none."""
        return self._client.send(self.calls.bulk(operations, **how))

    def history(self, key: str | None = None) -> Iterator[Document]:
        """Everything that happened to one record or to all, newest first."""
        return pages(self._client.send, lambda cursor: self.calls.history(key, limit=200, cursor=cursor))

    def diff(self, before: int, after: int | None = None) -> Iterator[Document]:
        """Everything that differs between two revisions."""
        return pages(self._client.send, lambda cursor: self.calls.diff(before, after, limit=200, cursor=cursor))

    def rollback(self, to_revision: int, key: str | None = None, **how: Any) -> Document:
        """Bring all records, or one, back to what they were at a revision."""
        return self._client.send(self.calls.rollback(to_revision, key, **how))


class AsyncRegistry:
    """The records of one registry. Every write may be a ``dry_run``, which answers what would change."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self.calls = RegistryCalls(name)
        self._client = client

    def iterate(self, **filters: object) -> AsyncIterator[Document]:
        """Every record, page after page; ``q`` and the registry's own filters narrow them."""
        return apages(
            self._client.send,
            lambda cursor: self.calls.page(limit=200, cursor=cursor, **filters),  # pyright: ignore[reportArgumentType]
        )

    async def get(self, key: str) -> Document:
        """Return a record; its ``version`` is what ``expect`` names."""
        return await self._client.send(self.calls.get(key))

    async def create(self, record: Mapping[str, Any], **how: Any) -> Document:
        """Make a record; it holds its own key."""
        return await self._client.send(self.calls.create(record, **how))

    async def put(self, key: str, record: Mapping[str, Any], **how: Any) -> Document:
        """Create or replace a record."""
        return await self._client.send(self.calls.put(key, record, **how))

    async def patch(self, key: str, members: Mapping[str, Any], **how: Any) -> Document:
        """Change members of a record; ``None`` gives one its default back."""
        return await self._client.send(self.calls.patch(key, members, **how))

    async def delete(self, key: str, **how: Any) -> Document | None:
        """Remove a record."""
        return await self._client.send(self.calls.delete(key, **how))

    async def bulk(self, operations: Sequence[Mapping[str, Any]], **how: Any) -> Document:
        """Do all operations or none."""
        return await self._client.send(self.calls.bulk(operations, **how))

    def history(self, key: str | None = None) -> AsyncIterator[Document]:
        """Everything that happened to one record or to all, newest first."""
        return apages(self._client.send, lambda cursor: self.calls.history(key, limit=200, cursor=cursor))

    def diff(self, before: int, after: int | None = None) -> AsyncIterator[Document]:
        """Everything that differs between two revisions."""
        return apages(self._client.send, lambda cursor: self.calls.diff(before, after, limit=200, cursor=cursor))

    async def rollback(self, to_revision: int, key: str | None = None, **how: Any) -> Document:
        """Bring all records, or one, back to what they were at a revision."""
        return await self._client.send(self.calls.rollback(to_revision, key, **how))
