"""The guard as a transport of httpx, over the public face of httpcore."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from typing import Any, Final, cast

import httpcore
import httpx

from valhalla.kit import outgoing
from valhalla.kit.outgoing_guard.dialing import Resolve, system_resolve
from valhalla.kit.outgoing_guard.errors import TargetRefused
from valhalla.kit.outgoing_guard.rules import Reach

_TRIED: Final = 3
_FAILURES: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


def guarded_client(
    reach: Reach, *, timeout: float = 10.0, connections: int = 20, resolve: Resolve | None = None
) -> httpx.AsyncClient:
    """Return a client that goes nowhere but ``reach``; no proxy of the environment, no redirect is followed.

    ``timeout`` in seconds is of each wait, not of the whole exchange: see ``exchange``. What it refuses is raised as
    ``TargetRefused``, every other failure as httpx's own.
    """
    return httpx.AsyncClient(
        transport=GuardedTransport(reach, connections=connections, resolve=resolve),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        event_hooks={"request": [outgoing.amark]},
    )


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends to what ``reach`` allows; ``resolve`` stands in for the system's resolver."""

    def __init__(self, reach: Reach, *, connections: int = 20, resolve: Resolve | None = None) -> None:
        self._reach = reach
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            max_keepalive_connections=0,
            network_backend=_Backend(reach, resolve or system_resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            TargetRefused: it may not go there.
        """
        self._reach.check_url(str(request.url))
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        stream, extensions = cast("Any", request.stream), request.extensions
        sent = httpcore.Request(request.method, url, headers=request.headers.raw, content=stream, extensions=extensions)
        with _translated():
            answer: Any = await self._pool.handle_async_request(sent)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Looks a name up itself and connects to the very address that it has checked."""

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve
        # its module stands in with an empty class when anyio is missing, which the type checker takes for it
        self._inner: httpcore.AsyncNetworkBackend = cast("Any", httpcore.AnyIOBackend)()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await self._look_up(host.strip("[]"), port, timeout)
        allowed = [each for each in found if self._reach.allows(ipaddress.ip_address(each), host, port)]
        if not allowed:
            raise TargetRefused("the target's address is private and no setting allows it")
        failure: Exception | None = None
        for address in allowed[:_TRIED]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise TargetRefused("a socket of this machine is no target")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _look_up(self, host: str, port: int, seconds: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except OSError as error:
            raise httpcore.ConnectError("the name cannot be resolved") from error
        if not found:
            raise httpcore.ConnectError("the name has no address")
        return found


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """Raise httpcore's failures as httpx's, which have the same names."""
    try:
        yield
    except _FAILURES as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error
