"""Configuration in this process: ``valhalla.config["checkout/timeout-ms"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.following import Followed

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.afollowing import AsyncFollowed
    from valhalla.sdk.client import Client

T = TypeVar("T")


class _Reading(Mapping[str, Any]):
    """What both kinds of configuration answer."""

    def _now(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        """Return the value of an entry.

        Raises:
            KeyError: there is no such entry.
        """
        return self._now()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def read(self, key: str, default: T) -> T:
        """Return a value of the default's type; the default where there is none, or one of another type."""
        value = self._now().get(key, default)
        if type(value) is type(default):
            return value
        if type(default) is float and type(value) is int:
            return float(value)  # type: ignore[return-value]
        return default


class Config(_Reading):
    """The values of one environment, kept current by a thread. Connects when it is first read."""

    def __init__(self, client: Client | None = None, *, environment: str | None = None) -> None:
        """Without a client the control plane is found as ``Client()`` finds it; ``environment`` is its own."""
        self._client = client
        self._query = {"delta": "true"} | ({} if environment is None else {"environment": environment})
        self._held: Followed[Mapping[str, Any]] | None = None

    def __getitem__(self, key: str) -> Any:
        """Return the value of an entry.

        Raises:
            KeyError: there is no such entry.
        """
        # by itself: reading an entry costs as little as it can
        return (self._held or self.follow()).value[key]

    def _now(self) -> Mapping[str, Any]:
        return (self._held or self.follow()).value

    def follow(self) -> Followed[Mapping[str, Any]]:
        """Load the values and keep them current.

        Raises:
            ApiProblem, Unreachable: they cannot be loaded.
        """
        if self._client is None:
            from valhalla.sdk.client import Client

            self._client = Client()
        self._held = Followed(self._client, "/system/config/values", self._query, _values)
        return self._held

    def close(self) -> None:
        """Stop following; what was read last stays readable."""
        if self._held is not None:
            self._held.close()


class AsyncConfig(_Reading):
    """The same on an event loop: ``async with AsyncConfig(client) as config`` follows, reading waits for nothing."""

    def __init__(self, client: AsyncClient, *, environment: str | None = None) -> None:
        """``environment`` is the control plane's own if none is named."""
        self._client = client
        self._query = {"delta": "true"} | ({} if environment is None else {"environment": environment})
        self._held: AsyncFollowed[Mapping[str, Any]] | None = None

    async def __aenter__(self) -> Self:
        await self.follow()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _now(self) -> Mapping[str, Any]:
        if self._held is None:
            raise ValhallaError("this configuration is not followed yet: await config.follow() first")
        return self._held.value

    async def follow(self) -> AsyncFollowed[Mapping[str, Any]]:
        """Load the values and keep them current.

        Raises:
            ApiProblem, Unreachable: they cannot be loaded.
        """
        # the blocking configuration does without asyncio, and starts the sooner
        from valhalla.sdk.afollowing import begin

        if self._held is None:
            self._held = await begin(self._client, "/system/config/values", self._query, _values)
        return self._held

    async def close(self) -> None:
        """Stop following; what was read last stays readable."""
        if self._held is not None:
            await self._held.close()


def _values(document: dict[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if before is None or "values" in document:
        return document["values"]
    held = {**before, **document["changed"]}
    for key in document["removed"]:
        held.pop(key, None)
    return held
