"""The control plane's connection to the NATS system account, and the requests it makes there.

It connects when it is needed, and again when the connection is gone. The client's own reconnecting is off: it
keeps requests while the server is away and sends them later, when the account that one pushes may have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from nats import errors
from nats.aio.client import Client, RawCredentials

from valhalla.kernel.problems import Unavailable
from valhalla.kit.natsauth import KeyPair, delete_claim

_LISTING: Final = 30.0


class AccountRefused(Unavailable):
    """The server is there and refuses an account or its removal; ``detail`` has its reason."""


async def open_client(
    url: str, creds: str, *, inbox_prefix: str = "_INBOX", tls: ssl.SSLContext | None = None
) -> Client:
    """Connect once, without reconnecting.

    Raises:
        nats.errors.Error: the server refuses the credentials.
        OSError: it cannot be reached.
    """
    client = Client()
    last: deque[Exception] = deque(maxlen=1)

    async def note(error: Exception) -> None:
        # in place of the client's own callback, which prints; a failed call raises at its caller as well
        last.append(error)

    try:
        await client.connect(
            url,
            user_credentials=RawCredentials(creds),
            inbox_prefix=inbox_prefix.encode(),
            error_cb=note,
            name="valhalla",
            tls=cast("Any", tls),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
    except errors.NoServersError as error:
        if last and isinstance(last[0], ssl.SSLError):
            raise last[0] from error
        raise ConnectionError(str(last[0]) if last else "no server") from error
    except BaseException:
        await close_client(client)
        raise
    return client


async def close_client(client: Client) -> None:
    """Close within a second, whatever state the client is in."""
    with contextlib.suppress(errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(1):
            await client.close()


async def echo(url: str, creds: str, subject: str, *, inbox_prefix: str, tls: ssl.SSLContext | None = None) -> None:
    """Connect, receive a message that is published to oneself, and ask JetStream for the account's limits.

    Raises:
        nats.errors.NoRespondersError: the account has no JetStream.
        nats.errors.Error, OSError: the rest does not work.
    """
    client: Any = await open_client(url, creds, inbox_prefix=inbox_prefix, tls=tls)
    try:
        subscription = await client.subscribe(subject)
        await client.publish(subject, b"1")
        await subscription.next_msg()
        await client.request("$JS.API.INFO")
    finally:
        await close_client(client)


def is_crowded(error: BaseException) -> bool:
    """Say whether the server let nobody in because the account's connections are all in use."""
    return "connections exceeded" in str(error)


def explain(error: BaseException) -> str:
    """Say in the user's words why the server did not answer."""
    if isinstance(error, (TimeoutError, errors.TimeoutError)):
        return "nats does not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS with nats failed: {getattr(error, 'verify_message', None) or error.reason}"
    # the client passes most refusals on as the server's text: Authorization Violation, User Authentication Expired
    if isinstance(error, errors.AuthorizationError) or "auth" in str(error).lower():
        return "nats refuses the credentials"
    if isinstance(error, OSError):
        return "nats cannot be reached"
    return str(error) or type(error).__name__


async def _to_oneself(client: Any) -> None:
    subject = f"valhalla.health.{secrets.token_hex(8)}"
    subscription = await client.subscribe(subject)
    try:
        await client.publish(subject, b"1")
        await subscription.next_msg(timeout=None)
    finally:
        with contextlib.suppress(errors.Error, OSError):
            await subscription.unsubscribe()


class NatsAdmin:
    """Requests to the system account over one long-lived connection. ``timeout``: seconds per request."""

    def __init__(
        self, url: str, operator: KeyPair, system_creds: str, *, timeout: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._url, self._creds, self._timeout = url, system_creds, timeout
        self._operator = operator
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                async with asyncio.timeout(self._timeout):
                    self._client = await open_client(self._url, self._creds, tls=self._tls)
            return self._client

    async def _request(self, subject: str, payload: str = "", *, within: float | None = None) -> bytes:
        try:
            client = await self._connected()
            return (await client.request(subject, payload.encode(), timeout=within or self._timeout)).data
        except errors.NoRespondersError as error:
            raise AccountRefused("nats", f"nats has no service for {subject}") from error
        except (errors.Error, OSError, TimeoutError) as error:
            await self._forget()
            raise Unavailable("nats", explain(error)) from error

    async def _forget(self) -> None:
        """Begin with a new connection next time: an answer after its time-out ends the client's reading for good."""
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    async def _ask(self, subject: str, payload: str = "", *, within: float | None = None) -> dict[str, Any]:
        answer: object = json.loads(await self._request(subject, payload, within=within))
        return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}

    async def push_account(self, token: str) -> None:
        """Make or replace an account; its live connections are under the new limits at once.

        Raises:
            Unavailable: no server, or no reply in time.
            AccountRefused: the server does not trust the operator, or cannot store the account.
        """
        _check(await self._ask("$SYS.REQ.CLAIMS.UPDATE", token))

    async def purge_account(self, account: str) -> None:
        """Remove the account's streams, from the disk too.

        Raises:
            Unavailable: no server, or no reply in time.
            AccountRefused: there is no JetStream, or a stream could not be removed.
        """
        answer = await self._ask(f"$JS.API.ACCOUNT.PURGE.{account}")
        if not answer.get("initiated"):
            raise AccountRefused("nats", f"nats does not remove an account's streams: {_reason(answer)}")

    async def delete_accounts(self, accounts: Sequence[str]) -> None:
        """Remove accounts; one that is gone already counts as removed.

        Raises:
            Unavailable: no server, or no reply in time.
            AccountRefused: the resolver does not allow deletion, or does not trust the operator.
        """
        _check(await self._ask("$SYS.REQ.CLAIMS.DELETE", delete_claim(self._operator, accounts)))

    async def list_accounts(self) -> list[str]:
        """Return the public keys of all accounts in the resolver, not only this cell's.

        Raises:
            Unavailable: no server, or no reply in time.
        """
        # the server reads every account's file: 0.1 ms each, beside its other work
        return list((await self._ask("$SYS.REQ.CLAIMS.LIST", within=_LISTING)).get("data") or ())

    async def find_account(self, account: str) -> str | None:
        """Return an account's JWT, or ``None`` when the resolver does not hold it.

        Raises:
            Unavailable: no server, or no reply in time.
        """
        return (await self._request(f"$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP")).decode() or None

    async def jetstream_room(self) -> tuple[int, int] | None:
        """Return the bytes of memory and disk that JetStream may give away, or ``None`` for a cluster.

        Raises:
            Unavailable: no server, or no reply in time.
        """
        data = (await self._ask("$SYS.REQ.SERVER.PING.JSZ")).get("data", {})
        if "meta_cluster" in data or "config" not in data:
            return None
        return int(data["config"].get("max_memory", 0)), int(data["config"].get("max_storage", 0))

    async def close_connection(self, server: str, client: int) -> bool:
        """Close a client's connection at its server; True when the server says that it is closed, or has none such.

        What the client has sent and the server has not read is never read.
        """
        subject = f"$SYS.REQ.SERVER.{server}.KICK"
        try:
            answer = await self._ask(subject, json.dumps({"cid": client}), within=1.0)
        except Unavailable:
            return False
        return "server" in answer

    async def round_trip(self) -> float:
        """Return the milliseconds until a message that is published to oneself has arrived.

        Raises:
            Unavailable: no server, or no reply in time.
        """
        started = time.monotonic()
        try:
            client = await self._connected()
            async with asyncio.timeout(self._timeout):
                await _to_oneself(client)
        except (errors.Error, OSError, TimeoutError) as error:
            await self._forget()
            raise Unavailable("nats", explain(error)) from error
        return round((time.monotonic() - started) * 1000, 3)

    async def close(self) -> None:
        """Close the connection; takes a second at most."""
        if self._client is not None:
            await close_client(self._client)


def _check(answer: dict[str, Any]) -> None:
    if answer.get("data", {}).get("code") != 200:
        raise AccountRefused("nats", f"nats refuses an account: {_reason(answer)}")


def _reason(answer: dict[str, Any]) -> str:
    return str(answer.get("error", {}).get("description", "it gives no reason"))
