"""A connection to NATS for what must be fast or must be sure: every byte that leaves is this module's to know.

nats-py reconnects by itself and sends later what it kept; an ingress must know which of its bytes a server may have
read. This one connects once, and when it is lost it stays so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import secrets
import ssl
import struct
from collections.abc import Callable, Mapping
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final, cast
from urllib.parse import urlsplit

from valhalla.kernel.problems import Unavailable
from valhalla.kit import natstls
from valhalla.sandbox.routing.frames import Frames, Handler, checked, read_creds

_LIMIT: Final = 1 << 20
_STRANGER: Final = (
    "The server does not know these credentials. Those of the control plane derive from its cell_key, and the server "
    "knows its account once the control plane has started with it: check that nats_url and cell_key are the same there."
)
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Link(asyncio.Protocol):
    """One connection. Everything is called in the event loop that made it."""

    def __init__(self, *, name: str, url: str = "") -> None:
        self._url = url
        self.closed = asyncio.Event()
        self.reason = "closed"
        self.server = ""
        self.cid = 0
        self.inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._info: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._handlers: dict[str, Handler] = {}
        self._frames = Frames(self._handlers, self._command)
        self._sids = itertools.count(1)
        self._asked: dict[str, asyncio.Future[tuple[bytes | None, bytes]]] = {}
        self._tokens = itertools.count(1)
        self._out: list[bytes] = []
        self._flushing = False
        self._room = asyncio.Event()
        self._room.set()
        self.before_flush: Callable[[], bool] = lambda: True
        """Asked once before bytes leave; False drops them and ends the connection."""

    @classmethod
    async def open(
        cls,
        url: str,
        creds: str,
        *,
        name: str,
        tls: ssl.SSLContext | None = None,
        timeout: float = 2.0,  # noqa: ASYNC109
    ) -> Link:
        """Connect and log in; ``timeout`` in seconds. ``tls`` is who is trusted where ``url`` is ``tls://``.

        Raises:
            Unavailable: no server in time, or it refuses the credentials.
            Misconfigured: one side wants TLS and the other has none or does not accept it, or the credentials are none.
        """
        url = url if "//" in url else f"nats://{url}"
        parts = urlsplit(url)
        token, key = read_creds(creds)
        link = cls(name=name, url=url)
        try:
            async with asyncio.timeout(timeout):
                await link._loop.create_connection(lambda: link, parts.hostname or "127.0.0.1", parts.port or 4222)
                info = await link._info
                assert link._transport is not None
                link.connection_made(await natstls.upgraded(link._transport, link, url, info, tls))
                signature = base64.urlsafe_b64encode(key.sign(str(info.get("nonce", "")).encode()))
                options = {
                    "verbose": False, "pedantic": False, "lang": "python", "version": "1", "protocol": 1,
                    "headers": True, "no_responders": True, "echo": True, "name": name,
                    "jwt": token, "sig": signature.decode().rstrip("="),
                }  # fmt: skip
                link.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
                await link._ready
        except (OSError, TimeoutError) as error:
            link.abort()
            if problem := natstls.refused(error, url):
                raise problem from error
            where = f"{parts.hostname}:{parts.port or 4222}"
            raise Unavailable("nats", f"nats at {where} cannot be reached, or does not answer in time") from error
        except BaseException:
            link.abort()
            raise
        link.subscribe(f"{link.inbox}.r.*", link._answered)
        return link

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=4 * _LIMIT)

    def pause_writing(self) -> None:
        """Take note that the server does not keep up."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Take note that there is room again."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        gone = natstls.refused(exc, self._url) or Unavailable(
            "nats", f"the connection to nats was lost: {exc or self.reason}"
        )
        self._room.set()
        self.closed.set()
        for waiting in (self._info, self._ready, *self._asked.values()):
            if not waiting.done():
                waiting.set_exception(gone)
                # nobody may be there to look
                waiting.exception()
        self._asked.clear()

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._frames.feed(data)

    def _command(self, line: bytes) -> None:
        if line.startswith(b"PING"):
            self.write(b"PONG\r\n")
        elif line.startswith(b"PONG"):
            if not self._ready.done():
                self._ready.set_result(None)
        elif line.startswith(b"INFO"):
            info = json.loads(line[5:])
            self.server, self.cid = str(info.get("server_id", self.server)), int(info.get("client_id", self.cid))
            if not self._info.done():
                self._info.set_result(info)
        elif line.startswith(b"-ERR"):
            self.reason = line[5:].decode("latin-1").strip("'")
            if not self._ready.done():
                help_ = _STRANGER if "auth" in self.reason.lower() else None
                self._ready.set_exception(Unavailable("nats", f"nats refuses: {self.reason}", help=help_))

    # --- what its owner calls

    def write(self, data: bytes) -> None:
        """Send bytes of the protocol with everything else of this turn of the loop."""
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out, self._out = self._out, []
        if self._transport is None or self._transport.is_closing():
            return
        if not self.before_flush():
            self.abort("it may not publish any more")
            return
        self._transport.write(b"".join(out))

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as anybody knows."""
        return self._transport is not None and not self._transport.is_closing() and not self.closed.is_set()

    async def room(self) -> None:
        """Wait until the server takes more."""
        await self._room.wait()

    def subscribe(self, subject: str, handler: Handler) -> str:
        """Hear a subject; returns what ``unsubscribe`` takes."""
        sid = str(next(self._sids))
        self._handlers[sid] = handler
        self.write(f"SUB {subject} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid: str) -> None:
        """Hear it no more."""
        if self._handlers.pop(sid, None) is not None:
            self.write(f"UNSUB {sid}\r\n".encode())

    def publish(
        self, subject: str, body: bytes = b"", *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send one message; subject and headers must be legal."""
        if headers:
            block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            first = block.encode()
            self.write(
                f"HPUB {subject} {reply} {len(first)} {len(first) + len(body)}\r\n".encode() + first + body + b"\r\n"
            )
        else:
            self.write(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 2.0,  # noqa: ASYNC109
    ) -> tuple[bytes | None, bytes]:
        """Send a message and return headers and body of the first answer; ``timeout`` in seconds.

        Raises:
            Unavailable: the connection is lost, nobody listens there, or no answer came in time.
        """
        if not self.is_open:
            raise Unavailable("nats", "the connection to nats is closed")
        reply = f"{self.inbox}.r.{next(self._tokens)}"
        answer: asyncio.Future[tuple[bytes | None, bytes]] = self._loop.create_future()
        self._asked[reply] = answer
        try:
            self.publish(subject, body, reply=reply, headers=headers)
            async with asyncio.timeout(timeout):
                block, data = await answer
        except TimeoutError as error:
            raise Unavailable("nats", "nats does not answer in time") from error
        finally:
            self._asked.pop(reply, None)
        if block is not None and block.startswith(b"NATS/1.0 503"):
            raise Unavailable("nats", f"nobody answers on {subject}: JetStream is off, or the stream does not exist")
        return block, data

    def _answered(self, subject: str, _reply: str | None, block: bytes | None, body: bytes) -> None:
        waiting = self._asked.get(subject)
        if waiting is not None and not waiting.done():
            waiting.set_result((block, body))

    async def api(self, subject: str, document: Any = None, *, timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109
        """Ask JetStream, ``subject`` without ``$JS.API.``; ``timeout`` in seconds.

        Raises:
            ApiError: it refuses.
            Unavailable: it does not answer.
        """
        body = b"" if document is None else json.dumps(document).encode()
        _, data = await self.request(f"$JS.API.{subject}", body, timeout=timeout)
        return checked(data)

    async def store(
        self,
        subject: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109
    ) -> int:
        """Publish into a stream and return the sequence.

        Raises:
            ApiError: the stream refuses it.
            Unavailable: there is no answer; it may have been stored.
        """
        _, data = await self.request(subject, body, headers=headers, timeout=timeout)
        return int(checked(data).get("seq", 0))

    def abort(self, reason: str = "closed here") -> None:
        """End it now; what is not sent yet never is."""
        self.reason = reason
        self._out.clear()
        if self._transport is not None:
            # what the kernel holds goes with it: it would be sent when a cut network is back
            socket = self._transport.get_extra_info("socket")
            if socket is not None and not self._transport.is_closing():
                socket.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
            self._transport.abort()

    async def close(self) -> None:
        """Send what is left and end it, within a second."""
        if self._transport is not None and not self._transport.is_closing():
            self._flush()
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.closed.wait()
            self.abort()
