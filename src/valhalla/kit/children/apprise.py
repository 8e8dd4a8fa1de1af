"""The child that sends by apprise, which opens connections of its own: each is checked as it is made.

The address is looked at when the socket connects, so a name that is moved after it was looked up gains nothing, and
neither does a redirect. Only this process has the hook.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from collections.abc import Mapping
from typing import Any

from valhalla.kit.children.serving import serve
from valhalla.kit.outgoing_guard.rules import Reach, literal_of


class _RefusedError(OSError):
    """A connection to where nobody may go."""


class _Guard:
    """An audit hook: it cannot be taken away again."""

    def __init__(self) -> None:
        self.reach = Reach()
        self.refused = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in ("socket.connect", "socket.sendto"):
            return
        sock, address = args
        if event == "socket.sendto" and sock.type != socket.SOCK_DGRAM:
            return
        host = literal_of(str(address[0]).partition("%")[0]) if isinstance(address, tuple) else None  # pyright: ignore[reportUnknownArgumentType]
        if host is None or not self.reach.allows(host):
            self.refused = True
            raise _RefusedError("the target's address is private and no setting allows it")


class _Lines(logging.Handler):
    """Keeps the last thing that apprise complained about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()[:300]


_guard = _Guard()
_lines = _Lines()


def send(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send ``title`` and ``body`` to ``urls``; with ``check`` only say which of them nobody understands."""
    import apprise

    known: Any = apprise.Apprise
    unknown = [n for n, url in enumerate(request["urls"]) if known.instantiate(url) is None]
    if unknown or request.get("check"):
        return {"unknown": unknown}
    _guard.reach = Reach(tuple(ipaddress.ip_network(each) for each in request["networks"]))
    _guard.refused, _lines.last = False, ""
    failed: list[int] = []
    for n, url in enumerate(request["urls"]):
        asset = apprise.AppriseAsset(async_mode=False, app_id="Valhalla", app_desc="Valhalla")
        service: Any = apprise.Apprise(asset=asset)
        service.add(url)
        if not service.notify(title=request["title"], body=request["body"], notify_type=request["type"]):
            failed.append(n)
    return {"failed": failed, "refused": _guard.refused, "why": _lines.last}


if __name__ == "__main__":
    logging.getLogger("apprise").addHandler(_lines)
    sys.addaudithook(_guard)
    serve(send)
