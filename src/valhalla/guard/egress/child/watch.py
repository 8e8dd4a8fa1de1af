"""Sees the connections that a program in its own network tries, in whatever language it is written.

It decides nothing: the network has no way out, so every call may be made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Final

from valhalla.guard.egress.child.doors import listening
from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.endpoints import UNIX
from valhalla.guard.egress.kernel import bpf, notices, sockets
from valhalla.guard.egress.kernel.bpf import EQUAL, Program, argument
from valhalla.guard.egress.kernel.syscalls import Architecture

_TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
Report = Callable[[str, str, Layer], None]


def program(machine: Architecture) -> bytes:
    """Return a filter that asks about connections and datagrams with an address, and lets everything else pass."""
    made = Program()
    made.load(bpf.ARCHITECTURE)
    made.unless(EQUAL, machine.audit, "allow")
    made.load(bpf.NUMBER)
    made.when(EQUAL, machine.calls["connect"], "ask")
    made.unless(EQUAL, machine.calls["sendto"], "allow")
    made.load(argument(4))
    made.unless(EQUAL, 0, "ask")
    made.load(argument(4, high=True))
    made.unless(EQUAL, 0, "ask")
    made.label("allow")
    made.answer(bpf.ALLOW)
    made.label("ask")
    made.answer(bpf.NOTIFY)
    return made.assemble()


class Watch:
    """Answers one listener's questions and reports what leads nowhere."""

    def __init__(
        self,
        listener: int,
        machine: Architecture,
        doors: frozenset[tuple[str, int]],
        hidden: frozenset[str],
        tell: Report,
    ) -> None:
        """``doors`` are addresses that lead out, ``hidden`` the daemons' sockets that were taken away."""
        self._listener = listener
        self._sendto = machine.calls["sendto"]
        self._doors = doors
        self._hidden = hidden
        self._tell = tell

    def answer(self) -> None:
        """Take one question, report it if it leads nowhere, and let the call be made."""
        question = notices.receive(self._listener)
        if question is None:
            return
        datagram = question.call == self._sendto
        address, length = question.arguments[4:6] if datagram else question.arguments[1:3]
        where = sockets.decode(question.memory(address, length))
        # only what still waits has said this
        if where is not None and notices.is_valid(self._listener, question):
            host, port = where
            if self._leads_nowhere(host, port, question.pid):
                what = "resolve a name at" if port == 53 else "send a datagram to" if datagram else "connect"
                self._tell(
                    what, host if port is None else f"{f'[{host}]' if ':' in host else host}:{port}", Layer.KERNEL
                )
        notices.let_go(self._listener, question)

    def _leads_nowhere(self, host: str, port: int | None, pid: int) -> bool:
        if host.startswith(UNIX):
            return host.removeprefix(UNIX) in self._hidden
        if port is None or (host, port) in self._doors:
            return False
        # port 0 sends nothing: libraries connect a datagram socket to learn their own address
        if port == 0:
            return False
        address = ipaddress.ip_address(host)
        if not (address.is_loopback or address.is_unspecified):
            return True
        return port not in listening({name: _table(pid, name) for name in _TABLES})


def _table(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/net/{name}").read_text()
    except OSError:
        return ""
