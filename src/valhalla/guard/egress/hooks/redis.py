"""redis-py, sync and async: commands by the flags that servers give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from valhalla.guard.egress.commands import only_reads, parse
from valhalla.guard.egress.endpoints import UNIX
from valhalla.guard.egress.hooks.patching import Patches, before

if TYPE_CHECKING:
    from types import ModuleType

    from valhalla.guard.egress.seal import Seal


def _packed(seal: Seal, connection: Any, command: Any, *args: Any, **kwargs: Any) -> None:
    del args, kwargs
    path = getattr(connection, "path", None)
    where = (UNIX + str(path), None) if path else (str(connection.host), int(connection.port))
    if seal.may_send(*where):
        return
    packed = _joined(command)
    for words in parse(packed):
        name = words[0].decode(errors="replace").upper()[:40]
        reads = only_reads(words)
        # greetings carry passwords, and reads nothing worth keeping but their key
        key = words[1][:100].decode(errors="replace") if len(words) > 1 and name not in ("AUTH", "HELLO") else ""
        excerpt = key if reads else b" ".join(words[1:8])[:400]
        at = where[0] if where[1] is None else f"{where[0]}:{where[1]}"
        if not (reads and name in ("AUTH", "HELLO", "CLIENT", "SELECT", "PING")):
            seal.request(f"redis {name}", at, where, reads=reads, size=sum(map(len, words)), body=excerpt)


def _joined(command: Any) -> bytes:
    if isinstance(command, str):
        return command.encode()
    return command if isinstance(command, bytes) else b"".join(command)


def redis(patches: Patches, module: ModuleType) -> None:
    """Hook the connections of redis-py; ``module`` is the sync or the async one."""
    patches.replace(module.AbstractConnection, "send_packed_command", before(_packed))
