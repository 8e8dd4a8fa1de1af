"""The API keys of a control plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from valhalla.sdk import calls
from valhalla.sdk.paging import pages
from valhalla.sdk.reports import ApiKey

if TYPE_CHECKING:
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
