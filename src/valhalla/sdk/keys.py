"""The API keys of a control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
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
        self,
        *,
        owner: str,
        scopes: Sequence[str] = (),
        role: str | None = None,
        name: str | None = None,
        expires_at: datetime | None = None,
        networks: Sequence[str] = (),
        limits: Sequence[str] = (),
    ) -> ApiKey:
        """Make a key with scopes, a role or both; its ``key`` is told this once.

        ``networks`` are the only ones it may be used from, ``limits`` its own rate limits (``100/minute``).
        """
        request = calls.create_key(
            owner=owner,
            scopes=scopes,
            role=role,
            name=name,
            expires_at=expires_at,
            networks=networks,
            limits=limits,
        )
        return self._client.send(request)

    def iterate(self) -> Iterator[ApiKey]:
        """Every key, without its secret."""
        return pages(self._client.send, lambda cursor: calls.list_keys(limit=100, cursor=cursor))

    def rotate(self, client_id: str, *, grace: timedelta = timedelta(hours=1)) -> ApiKey:
        """Make a new key for a client; the old one is taken for ``grace`` more (0: ends at once)."""
        return self._client.send(calls.rotate_key(client_id, round(grace.total_seconds())))

    def activate(self, client_id: str) -> ApiKey:
        """Take a client's keys again."""
        return self._client.send(calls.switch_key(client_id, active=True))

    def deactivate(self, client_id: str, *, confirm: bool = False) -> ApiKey:
        """Take a client's keys no longer, until it is activated again."""
        return self._client.send(calls.switch_key(client_id, active=False, confirm=confirm))

    def revoke(self, client_id: str, *, confirm: bool = False) -> None:
        """End a key at once; ``confirm`` also the last one that can administer keys."""
        self._client.send(calls.revoke_key(client_id, confirm=confirm))


class AsyncKeys:
    """The API keys of a control plane; for admins."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        *,
        owner: str,
        scopes: Sequence[str] = (),
        role: str | None = None,
        name: str | None = None,
        expires_at: datetime | None = None,
        networks: Sequence[str] = (),
        limits: Sequence[str] = (),
    ) -> ApiKey:
        """Make a key with scopes, a role or both; its ``key`` is told this once.

        ``networks`` are the only ones it may be used from, ``limits`` its own rate limits (``100/minute``).
        """
        request = calls.create_key(
            owner=owner,
            scopes=scopes,
            role=role,
            name=name,
            expires_at=expires_at,
            networks=networks,
            limits=limits,
        )
        return await self._client.send(request)

    def iterate(self) -> AsyncIterator[ApiKey]:
        """Every key, without its secret."""
        return apages(self._client.send, lambda cursor: calls.list_keys(limit=100, cursor=cursor))

    async def rotate(self, client_id: str, *, grace: timedelta = timedelta(hours=1)) -> ApiKey:
        """Make a new key for a client; the old one is taken for ``grace`` more (0: ends at once)."""
        return await self._client.send(calls.rotate_key(client_id, round(grace.total_seconds())))

    async def activate(self, client_id: str) -> ApiKey:
        """Take a client's keys again."""
        return await self._client.send(calls.switch_key(client_id, active=True))

    async def deactivate(self, client_id: str, *, confirm: bool = False) -> ApiKey:
        """Take a client's keys no longer, until it is activated again."""
        return await self._client.send(calls.switch_key(client_id, active=False, confirm=confirm))

    async def revoke(self, client_id: str, *, confirm: bool = False) -> None:
        """End a key at once; ``confirm`` also the last one that can administer keys."""
        await self._client.send(calls.revoke_key(client_id, confirm=confirm))
