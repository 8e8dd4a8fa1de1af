"""Flags evaluated in this process: ``valhalla.flags.boolean("new-checkout", False, targetingKey=user)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import msgspec

from valhalla.features.operations.flags.contracts import Flag, Resolution
from valhalla.features.operations.flags.evaluating import FlagSet
from valhalla.sdk.errors import ValhallaError
from valhalla.sdk.following import Followed
from valhalla.sdk.wire import Request

if TYPE_CHECKING:
    from valhalla.sdk.aclient import AsyncClient
    from valhalla.sdk.afollowing import AsyncFollowed
    from valhalla.sdk.client import Client

T = TypeVar("T")


class _Evaluating:
    """What both kinds of flags answer. Whatever goes wrong with a flag, the caller's default is the answer."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, int]] = {}

    def _now(self) -> FlagSet:
        raise NotImplementedError

    def evaluate(self, key: str, context: Mapping[str, Any] | None = None) -> Resolution:
        """Return what a flag comes out as, and why."""
        return self._now().evaluate(key, context or {})

    def value(self, key: str, default: T, context: Mapping[str, Any] | None = None) -> T:
        """Return a value of the default's type, the default where there is none."""
        found = self._now().evaluate(key, context or {})
        if not found.found:
            return default
        value = found.value
        if type(value) is type(default):
            return value
        if type(default) is float and type(value) is int:
            return cast("T", float(value))
        return default

    def boolean(self, key: str, default: bool, **context: Any) -> bool:
        """Return a switch."""
        return self.value(key, default, context)

    def string(self, key: str, default: str, **context: Any) -> str:
        """Return a text."""
        return self.value(key, default, context)

    def integer(self, key: str, default: int, **context: Any) -> int:
        """Return a whole number."""
        return self.value(key, default, context)

    def number(self, key: str, default: float, **context: Any) -> float:
        """Return a number."""
        return self.value(key, default, context)

    def object(self, key: str, default: dict[str, Any], **context: Any) -> dict[str, Any]:
        """Return an object."""
        return self.value(key, default, context)

    def _news(self) -> tuple[Request[dict[str, Any]] | None, dict[str, dict[str, int]]]:
        """Return the request that tells what was served since it was told last, and what is told by then."""
        flags = self._now()
        counts = {key: dict(each) for key, each in list(flags.counts.items()) if each}
        news = {key: _more(each, self._told.get(key, {})) for key, each in counts.items()}
        news = {key: each for key, each in news.items() if each}
        if not news:
            return None, counts
        body = {"environment": flags.environment, "counts": news}
        return Request("POST", "/system/flags/exposures", dict[str, Any], body=body), counts


class Flags(_Evaluating):
    """The flags of one environment, kept current by a thread and evaluated here. Connects when it is first asked.

    What was served is told to the control plane from time to time, as counts.
    """

    def __init__(self, client: Client | None = None, *, environment: str | None = None) -> None:
        """Without a client the control plane is found as ``Client()`` finds it; ``environment`` is its own."""
        super().__init__()
        self._client = client
        self._query = {} if environment is None else {"environment": environment}
        self._held: Followed[FlagSet] | None = None

    def _now(self) -> FlagSet:
        return (self._held or self.follow()).value

    def follow(self) -> Followed[FlagSet]:
        """Load the flags and keep them current.

        Raises:
            ApiProblem, Unreachable: they cannot be loaded.
        """
        if self._client is None:
            from valhalla.sdk.client import Client

            self._client = Client()
        self._held = Followed(self._client, "/system/flags/snapshot", self._query, _flag_set, after=self.tell)
        return self._held

    def tell(self) -> None:
        """Tell the control plane what was served since it was told last."""
        if self._held is None or self._client is None:
            return
        request, counts = self._news()
        if request is not None:
            self._client.document(request)
            self._told = counts

    def close(self) -> None:
        """Stop following; what was loaded last stays."""
        if self._held is not None:
            self._held.close()


class AsyncFlags(_Evaluating):
    """The same on an event loop: ``async with AsyncFlags(client) as flags`` follows, evaluating waits for nothing."""

    def __init__(self, client: AsyncClient, *, environment: str | None = None) -> None:
        """``environment`` is the control plane's own if none is named."""
        super().__init__()
        self._client = client
        self._query = {} if environment is None else {"environment": environment}
        self._held: AsyncFollowed[FlagSet] | None = None

    async def __aenter__(self) -> Self:
        await self.follow()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _now(self) -> FlagSet:
        if self._held is None:
            raise ValhallaError("these flags are not followed yet: await flags.follow() first")
        return self._held.value

    async def follow(self) -> AsyncFollowed[FlagSet]:
        """Load the flags and keep them current.

        Raises:
            ApiProblem, Unreachable: they cannot be loaded.
        """
        # the blocking flags do without asyncio, and start the sooner
        from valhalla.sdk.afollowing import begin

        if self._held is None:
            self._held = await begin(self._client, "/system/flags/snapshot", self._query, _flag_set, after=self.tell)
        return self._held

    async def tell(self) -> None:
        """Tell the control plane what was served since it was told last."""
        if self._held is None:
            return
        request, counts = self._news()
        if request is not None:
            await self._client.document(request)
            self._told = counts

    async def close(self) -> None:
        """Stop following; what was loaded last stays."""
        if self._held is not None:
            await self._held.close()


def _flag_set(document: dict[str, Any], before: FlagSet | None) -> FlagSet:
    flags = msgspec.convert(document["flags"], list[Flag])
    held: dict[str, tuple[Flag, int]] = {}
    for flag in flags:
        old = None if before is None else before.find(flag.key)
        # a definition that is the same needs no new version, and is not compiled again
        held[flag.key] = old if old is not None and old[0] == flag else (flag, 1 if old is None else old[1] + 1)
    return FlagSet(
        held,
        environment=document["environment"],
        shared=document["rules"],
        revision=document["revision"],
        before=before,
    )


def _more(now: Mapping[str, int], told: Mapping[str, int]) -> dict[str, int]:
    return {variant: count - told.get(variant, 0) for variant, count in now.items() if count > told.get(variant, 0)}
