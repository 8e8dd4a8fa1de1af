"""Reads the server's replies (RESP2). Ours are one string each, so this little is faster than a general parser."""

from __future__ import annotations

from typing import Any, Final

MISSING: Final = object()


class ReplyError(Exception):
    """An error reply: the server took the command and refused it. It is handed on as a value."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


def forgotten(reply: Any) -> bool:
    """Say whether the server does not know the script any more."""
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"


class Replies:
    """Bytes in, whole replies out."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        if self._at:
            del self._data[: self._at]
            self._at = 0
        self._data += data

    def take(self) -> Any:
        """Return the next reply, ``MISSING`` until it is whole.

        Raises:
            ValueError: these bytes are no reply.
        """
        reply, after = self._parse(self._at)
        if reply is not MISSING:
            self._at = after
        return reply

    def _parse(self, start: int) -> tuple[Any, int]:  # noqa: PLR0911 - one line per kind of reply
        end = self._data.find(b"\r\n", start)
        if end < 0:
            return MISSING, start
        kind, head, after = self._data[start], self._data[start + 1 : end], end + 2
        if kind == 0x24:  # $
            size = int(head)
            if size < 0:
                return None, after
            if len(self._data) < after + size + 2:
                return MISSING, start
            return bytes(self._data[after : after + size]), after + size + 2
        if kind == 0x3A:  # :
            return int(head), after
        if kind == 0x2D:  # -
            return ReplyError(head.decode("utf-8", "replace")), after
        if kind == 0x2B:  # +
            return bytes(head), after
        if kind != 0x2A:  # *
            raise ValueError("no reply of the protocol")
        items: list[Any] = []
        for _ in range(int(head)):
            item, after = self._parse(after)
            if item is MISSING:
                return MISSING, start
            items.append(item)
        return items, after
