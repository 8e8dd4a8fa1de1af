"""Audit events of the standard library's clients: what is written on a connection that was open before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from valhalla.guard.egress.contracts import Layer

if TYPE_CHECKING:
    from valhalla.guard.egress.seal import Seal

READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE", "CONNECT"}) | READS
# what changes something, or hands something over; greetings and goodbyes pass
_SMTP: Final = frozenset({"MAIL", "RCPT", "DATA", "BDAT", "SEND"})
_FTP: Final = frozenset({"STOR", "STOU", "APPE", "DELE", "RMD", "MKD", "RNFR", "RNTO", "SITE"})
_POP: Final = frozenset({"DELE"})
_IMAP: Final = frozenset({"APPEND", "STORE", "COPY", "MOVE", "EXPUNGE", "CREATE", "DELETE", "RENAME", "UID", "CLOSE"})


def _word(data: object, index: int = 0) -> str:
    if isinstance(data, (bytes, bytearray, memoryview)):
        text = bytes(cast("bytes", data)[:64]).decode("latin-1")
    else:
        text = data[:64] if isinstance(data, str) else ""
    words = text.split(None, index + 1)
    return words[index].upper() if len(words) > index else ""


def _http(seal: Seal, args: tuple[Any, ...]) -> None:
    client, data = args
    method = _word(data)
    # a chunk of a body follows a request line that was judged
    if method in _METHODS and b" HTTP/1." in bytes(memoryview(data)[:8192] if isinstance(data, bytes) else b""):
        where = f"{client.host}:{client.port}"
        seal.request(
            method, where, (client.host, client.port), reads=method in READS, layer=Layer.AUDIT, size=len(data)
        )


def _line(kind: str, verbs: frozenset[str], index: int = 0) -> Callable[[Seal, tuple[Any, ...]], None]:
    def check(seal: Seal, args: tuple[Any, ...]) -> None:
        client, line = args
        verb = _word(line, index)
        if verb not in verbs:
            return
        sock = getattr(client, "sock", None)
        try:
            host, port = sock.getpeername()[:2]  # pyright: ignore[reportOptionalMemberAccess]
        except (OSError, AttributeError):
            host, port = str(getattr(client, "host", "?")), None
        if not seal.may_send(host, port):
            seal.block(f"{kind} {verb}", f"{host}:{port}")

    return check


CHECKS: Final[Mapping[str, Callable[[Seal, tuple[Any, ...]], None]]] = {
    "http.client.send": _http,
    "smtplib.send": _line("SMTP", _SMTP),
    "ftplib.sendcmd": _line("FTP", _FTP),
    "poplib.putline": _line("POP3", _POP),
    "imaplib.send": _line("IMAP", _IMAP, 1),
}
