"""The control plane's own connection to the Valkey or Redis server, and what it checks there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.sandbox.slices.valkey_rules import OLDEST, Version, read_version

_AWAY: Final = (
    OSError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.NoPermissionError,
)
_LONGEST_VALUE: Final = 1024 * 1024
_SLOTS: Final = 16_384


def open_client(url: str, *, connections: int, timeout: float, protocol: int | None = None) -> Redis:
    """Return a lazy client that recovers by itself after a restart of the server; ``timeout`` in seconds."""
    make = cast("Any", BlockingConnectionPool).from_url
    pool: BlockingConnectionPool = make(
        url,
        protocol=protocol,
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        # one retry, for pooled sockets that a restart has left dead: every command here may run twice
        retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
    )
    return Redis.from_pool(pool)


def explain(error: BaseException) -> str:
    """Say in the user's words why the server did not answer."""
    if isinstance(error, exceptions.AuthenticationError):
        return "valkey refuses the credentials"
    if isinstance(error, exceptions.TimeoutError):
        return "valkey does not answer in time"
    if isinstance(error, (exceptions.ConnectionError, OSError)):
        return "valkey cannot be reached"
    return str(error)


class ValkeyServer:
    """Commands with the control plane's credentials; what means "not now" is ``Unavailable("valkey")``."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self._redis: Any = open_client(url, connections=8, timeout=timeout, protocol=2)
        # answers as the server sends them: the library's parsers differ by its version, and some of them decode
        # keys as UTF-8 and lose what is none
        self._redis.response_callbacks.clear()
        self._known: tuple[Version, bool] | None = None
        self._run_id: str | None = None
        self._writable = False

    async def call(self, *words: str | bytes | int) -> Any:
        """Run one command and return the answer as the server sends it (RESP2, bytes)."""
        async with self._reaching():
            return await self._redis.execute_command(*words)

    async def call_all(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """Run many commands in one round trip, not as a transaction; return their answers."""
        async with self._reaching():
            pipeline = self._redis.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            return await pipeline.execute()

    @asynccontextmanager
    async def _reaching(self) -> AsyncGenerator[None]:
        try:
            yield
        except _AWAY as error:
            raise Unavailable("valkey", explain(error)) from error

    async def info(self) -> dict[str, str]:
        """Read ``INFO server cluster``."""
        info = read_lines(await self.call("INFO", "server", "cluster"))
        self._known = read_version(info["redis_version"]), info.get("cluster_enabled") == "1"
        if info["run_id"] != self._run_id:
            self._run_id, self._writable = info["run_id"], False
        return info

    async def await_writable(self) -> None:
        """Wait until keys can be written: a cluster node refuses that for two seconds after its start.

        Raises:
            Unavailable: the server cannot be reached, or still refuses after five seconds.
        """
        deadline = time.monotonic() + 5
        while not self._writable:
            state = read_lines(await self.call("CLUSTER INFO")) if await self.clustered() else {}
            self._writable = state.get("cluster_state", "ok") == "ok"
            if not self._writable:
                if time.monotonic() > deadline:
                    raise Unavailable("valkey", "valkey has just started and does not take keys yet")
                await asyncio.sleep(0.05)

    async def version(self) -> Version:
        """Return the server's Redis level, as last seen."""
        return (await self._know())[0]

    async def clustered(self) -> bool:
        """Say whether the server keeps hash slots, as last seen."""
        return (await self._know())[1]

    async def _know(self) -> tuple[Version, bool]:
        if self._known is None:
            await self.info()
        assert self._known is not None
        return self._known

    async def findings(self) -> list[str]:
        """Return what the server leaves open, in the operator's words; an empty list is the goal.

        Raises:
            Unavailable: the server cannot be reached.
            Misconfigured: it is older than Redis 7, or one of several masters.
        """
        await self.info()
        version = await self.version()
        if version < OLDEST:
            raise Misconfigured(
                f"the server speaks Redis {version[0]}.{version[1]}; Redis 7 or Valkey is needed",
                setting="valkey_url",
            )
        return [
            *await self._check_cluster(),
            *await self._check_default_user(),
            *await self._check_settings(),
        ]

    async def _check_cluster(self) -> list[str]:
        if not await self.clustered():
            return ["cluster-enabled is off: removing a sandbox's keys scans the whole keyspace"]
        info = read_lines(await self.call("CLUSTER INFO"))
        if int(info.get("cluster_size", 1)) > 1:
            raise Misconfigured("the server is one of several masters; a single master is needed", setting="valkey_url")
        served = int(info.get("cluster_slots_assigned", 0)) == _SLOTS
        return [] if served else ["the cluster has slots that no node serves"]

    async def _check_default_user(self) -> list[str]:
        user = _read_pairs(await self.call("ACL GETUSER", "default"))
        if {b"on", b"nopass"} <= set(user[b"flags"]):
            return ["the user 'default' is on without a password: any sandbox becomes it with RESET or AUTH"]
        return []

    async def _check_settings(self) -> list[str]:
        try:
            settings = _read_pairs(await self.call("CONFIG GET", "acl-pubsub-default", "proto-max-bulk-len"))
        except (Unavailable, exceptions.ResponseError) as error:
            if isinstance(error.__cause__, exceptions.ConnectionError):
                raise
            return ["CONFIG GET is refused: proto-max-bulk-len and acl-pubsub-default are not checked"]
        findings: list[str] = []
        if int(settings.get(b"proto-max-bulk-len", 0)) > _LONGEST_VALUE:
            findings.append("proto-max-bulk-len is over 1mb: one SETRANGE can take that much memory at once")
        if settings.get(b"acl-pubsub-default") != b"resetchannels":
            findings.append("acl-pubsub-default is not resetchannels: other users start with every channel")
        return findings

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose(close_connection_pool=True)


def read_lines(answer: bytes) -> dict[str, str]:
    """Read the ``name:value`` lines of INFO and CLUSTER INFO."""
    pairs = (line.partition(":") for line in answer.decode().split("\r\n"))
    return {key: value for key, colon, value in pairs if colon}


def _read_pairs(answer: list[Any]) -> dict[bytes, Any]:
    return dict(zip(answer[::2], answer[1::2], strict=True))
