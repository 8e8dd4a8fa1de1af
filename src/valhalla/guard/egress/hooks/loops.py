"""uvloop: libuv connects and starts processes without telling the interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valhalla.guard.egress import excerpts
from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.endpoints import UNIX, is_address
from valhalla.guard.egress.hooks.patching import Patches, before

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal


def _connection(seal: Seal, loop: Any, factory: Any, host: Any = None, port: Any = None, *_: Any, **kw: Any) -> None:
    del loop, factory
    if kw.get("sock") is None and host:
        seal.connection("connect", (str(host), int(port) if port else None), layer=Layer.PROTOCOL)


def _unix(seal: Seal, loop: Any, factory: Any, path: Any = None, *_: Any, **__: Any) -> None:
    del loop, factory
    if path:
        seal.connection("connect", (UNIX + str(path), None), layer=Layer.PROTOCOL)


def _datagrams(
    seal: Seal, loop: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **kwargs: Any
) -> None:
    del loop, factory, local_addr, kwargs
    # without a fixed peer every single datagram would have to be judged
    host, port = remote_addr[:2] if remote_addr else ("any peer", None)
    seal.connection("open datagrams to", (str(host), port), layer=Layer.PROTOCOL)


def _sock(seal: Seal, loop: Any, sock: Any, address: Any) -> None:
    from valhalla.guard.egress.audit.sockets import endpoint

    del loop
    if (where := endpoint(int(sock.family), address)) is not None:
        seal.connection("connect", where, layer=Layer.PROTOCOL)


def _name(seal: Seal, loop: Any, host: Any, *args: Any, **kwargs: Any) -> None:
    del loop, args, kwargs
    if host and not is_address(str(host)) and str(host) != "localhost":
        seal.lookup(str(host))


def _process(seal: Seal, loop: Any, factory: Any, *arguments: Any, **kwargs: Any) -> None:
    del loop, factory, kwargs
    seal.effect("start a process", excerpts.command(arguments))


def uvloop(patches: Patches, module: ModuleType) -> None:
    """Hook what uvloop's loop opens and starts."""
    patches.replace(module.Loop, "create_connection", before(_connection))
    patches.replace(module.Loop, "create_unix_connection", before(_unix))
    patches.replace(module.Loop, "create_datagram_endpoint", before(_datagrams))
    patches.replace(module.Loop, "sock_connect", before(_sock))
    patches.replace(module.Loop, "getaddrinfo", before(_name))
    patches.replace(module.Loop, "subprocess_exec", before(_process))
    patches.replace(module.Loop, "subprocess_shell", before(_process))
