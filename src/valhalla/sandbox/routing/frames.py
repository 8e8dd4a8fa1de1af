"""What NATS and its JetStream say, read from bytes: frames of the protocol, answers, credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from valhalla.kernel.problems import Misconfigured
from valhalla.kit.natsauth import KeyPair

Handler = Callable[[str, str | None, bytes | None, bytes], None]
"""Called with subject, reply subject, block of headers and body."""

FULL: Final = frozenset({10023, 10047, 10077, 10122})
"""Codes of JetStream's that say that there is no room: of the server, the account, the stream, the subject."""
_JWT: Final = re.compile(r"BEGIN NATS USER JWT-----\s+(\S+)\s+-")
_SEED: Final = re.compile(r"BEGIN USER NKEY SEED-----\s+(\S+)\s+-")


def delivery(reply: str | None) -> list[str] | None:
    """Return what the reply subject of a message says that a consumer delivered; None: it is no message but a status.

    That is: deliveries, sequence in the stream, sequence of the consumer, time in nanoseconds, and how many are left:
    ``$JS.ACK.<stream>.<consumer>.…``, or with domain and account in front of the stream (ADR-15 of NATS).
    """
    if reply is None or not reply.startswith("$JS.ACK."):
        return None
    tokens = reply.split(".")
    return tokens[6:] if len(tokens) >= 11 else tokens[4:]


class ApiError(Exception):
    """JetStream refuses a request; ``code`` is its own error code (10071: another sequence is the last)."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


def read_creds(creds: str) -> tuple[str, KeyPair]:
    """Return token and key of a ``.creds`` file's text.

    Raises:
        Misconfigured: it is none.
    """
    token, seed = _JWT.search(creds), _SEED.search(creds)
    if token is None or seed is None:
        raise Misconfigured("these are no NATS credentials", setting="nats")
    return token[1], KeyPair.from_seed(seed[1])


class Frames:
    """Cuts what comes into frames; https://docs.nats.io/reference/reference-protocols/nats-protocol.

    ``handlers`` get messages by the number of their subscription, ``command`` every other line.
    """

    def __init__(self, handlers: Mapping[str, Handler], command: Callable[[bytes], None]) -> None:
        self._handlers = handlers
        self._command = command
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what has come; what is incomplete is kept."""
        buffer = self._buffer
        buffer += data
        position, size = 0, len(buffer)
        while True:
            end = buffer.find(b"\r\n", position)
            if end < 0:
                break
            if buffer[position] in b"MH":
                line = buffer[position:end].decode("latin-1").split(" ")
                total = int(line[-1])
                after = end + 2 + total + 2
                if after > size:
                    break
                body = bytes(buffer[end + 2 : end + 2 + total])
                position = after
                self._deliver(line, body)
                continue
            self._command(bytes(buffer[position:end]))
            position = end + 2
        if position:
            del buffer[:position]

    def _deliver(self, line: list[str], body: bytes) -> None:
        handler = self._handlers.get(line[2])
        if handler is None:
            return
        if line[0] == "HMSG":
            split = int(line[-2])
            handler(line[1], line[3] if len(line) == 6 else None, body[:split], body[split:])
        else:
            handler(line[1], line[3] if len(line) == 5 else None, None, body)


def checked(data: bytes) -> dict[str, Any]:
    """Return an answer of JetStream.

    Raises:
        ApiError: it is a refusal.
    """
    answer: object = json.loads(data)
    document = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    error = document.get("error")
    if error:
        raise ApiError(int(error.get("err_code", error.get("code", 0))), str(error.get("description", "refused")))
    return document
