"""The API keys of a control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from valhalla.sdk import calls
from valhalla.sdk.paging import apages, pages
from valhalla.sdk.reports import ApiKey

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.client import Client


class Keys:
    """The API keys of a control plane; for admins."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self, *, owner: str, scopes: Sequence[str], name: str | None = None, expires_at: datetime | None = None
    ) -> ApiKey:
        """Make a key; its ``key`` is told this once."""
        return self._client.send(calls.create_key(owner=owner, scopes=scopes, name=name, expires_at=expires_at))

    def iterate(self) -> Iterator[ApiKey]:
        """Every key, without its secret."""
        return pages(self._client.send, lambda cursor: calls.list_keys(limit=100, cursor=cursor))

    def revoke(self, client_id: str) -> None:
        """End a key at once."""
        self._client.send(calls.revoke_key(client_id))


class AsyncKeys:
    """The API keys of a control plane; for admins."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self, *, owner: str, scopes: Sequence[str], name: str | None = None, expires_at: datetime | None = None
    ) -> ApiKey:
        """Make a key; its ``key`` is told this once."""
        return await self._client.send(calls.create_key(owner=owner, scopes=scopes, name=name, expires_at=expires_at))

    def iterate(self) -> AsyncIterator[ApiKey]:
        """Every key, without its secret."""
        return apages(self._client.send, lambda cursor: calls.list_keys(limit=100, cursor=cursor))

    async def revoke(self, client_id: str) -> None:
        """End a key at once."""
        await self._client.send(calls.revoke_key(client_id))
