"""The Valkey slice: an ACL user per sandbox that sees the keys and channels ``{id}:*`` and nothing else.

Works on Valkey 8+ and Redis 7+. The users live in the server's memory; after a restart (another ``run_id``)
the registry pushes them again with ``ensure``. ``ACL LIST`` is never called: with 10,000 users it stalls the
server for seconds.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from redis.crc import key_slot
from redis.exceptions import RedisError

from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.cellkey import CellKey
from valhalla.sandbox.slices.contracts import Found, Names, Probe
from valhalla.sandbox.slices.valkey_rules import user_rule
from valhalla.sandbox.slices.valkey_server import ValkeyServer, explain, open_client
from valhalla.sandbox.slices.valkey_usage import ValkeyUsage
from valhalla.sandbox.slices.valkey_watch import ValkeyWatch

_BATCH: Final = 500
_WIDEST: Final = 8_000
_STARTING: Final = 2.5


class ValkeySlice:
    """One ACL user per sandbox on one shared server."""

    name = "valkey"

    def __init__(self, url: str, cell: CellKey, *, public_host: str | None = None, timeout: float = 3.0) -> None:
        """``url`` holds the control plane's credentials, ``timeout`` is in seconds; nothing is connected yet.

        Raises:
            Misconfigured: the URL has no host, or a scheme that is neither ``redis`` nor ``rediss``.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise Misconfigured("the Valkey URL must look like redis://user:password@host:6379", setting="valkey_url")
        self._cell, self._timeout = cell, timeout
        self._scheme, self._query = parts.scheme, parts.query
        self._server_host, self._port = parts.hostname, parts.port or 6379
        self._host = public_host or parts.hostname
        self._mark = re.compile(rf"vh_{re.escape(cell.cell)}_([a-z0-9]{{16}})")
        self._server = ValkeyServer(url, timeout=timeout)
        self.usage = ValkeyUsage(self._server)
        self.watch = ValkeyWatch(url, timeout=timeout)

    async def provision(self, names: Names, *, expires_at: datetime) -> None:
        """Make the user. It has no expiry of its own: only ``cut`` ends it.

        Raises:
            Unavailable: the server cannot be reached.
        """
        rule = user_rule(names, self.password(names), await self._server.version())
        await self._server.call("ACL SETUSER", names.valkey_user, *rule)
        await self.await_writable()

    async def await_writable(self) -> None:
        """Wait until the server has its users and takes keys, which it refuses for two seconds after its start.

        Costs nothing later.

        Raises:
            Unavailable: the server cannot be reached, or still refuses after five seconds.
        """
        await self.watch.ready()
        await self._server.await_writable()

    async def ensure(self, many: Iterable[Names]) -> None:
        """Push the users of many sandboxes, as after a restart of the server.

        Raises:
            Unavailable: the server cannot be reached; any of the users may be missing.
        """
        await self._server.info()
        version = await self._server.version()
        waiting = list(many)
        for start in range(0, len(waiting), _BATCH):
            batch = waiting[start : start + _BATCH]
            rules = [user_rule(names, self.password(names), version) for names in batch]
            await self._server.call_all(
                [("ACL SETUSER", names.valkey_user, *rule) for names, rule in zip(batch, rules, strict=True)]
            )

    async def run_id(self) -> str:
        """Return the server's ``run_id``; another one than before means that every user is gone.

        Raises:
            Unavailable: the server cannot be reached.
        """
        return (await self._server.info())["run_id"]

    async def extend(self, names: Names, *, expires_at: datetime) -> None:
        """Do nothing: the server knows no expiry of users."""

    async def cut(self, names: Names) -> None:
        """Delete the user; the server closes its command and subscriber connections, blocked ones too.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self._server.call("ACL DELUSER", names.valkey_user)

    async def admit(self, names: Names, *, expires_at: datetime) -> None:
        """Make the user anew; its password derives from its name.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self.ensure([names])

    async def empty(self, names: Names) -> None:
        """Remove every key; the user stays and may write again at once.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self.drop(names)

    async def drop(self, names: Names) -> None:
        """Remove every key of the sandbox; freed in the server's background, so big values stall nobody.

        Raises:
            Unavailable: the server cannot be reached; to be resumed.
        """
        prefix = names.key_prefix.encode()
        if not await self._server.clustered() or not await self._drop_slot(prefix):
            await self._drop_scanning(prefix)

    async def _drop_slot(self, prefix: bytes) -> bool:
        """Empty the prefix's hash slot. False: others' keys fill it so far that a scan is cheaper."""
        slot, width = key_slot(prefix), _BATCH
        while width <= _WIDEST:
            keys: list[bytes] = await self._server.call("CLUSTER GETKEYSINSLOT", slot, width)
            mine = [key for key in keys if key.startswith(prefix)]
            await self._unlink(mine)
            if len(keys) < width:
                return True
            # the command has no cursor: it lists the others' keys of this slot again and again
            if len(mine) < len(keys) // 2:
                width *= 2
        return False

    async def _drop_scanning(self, prefix: bytes) -> None:
        # Braces and the colon are literal in the server's globs. Escaped, they would hide the hash tag by
        # which newer servers confine such a scan to one slot.
        cursor = 0
        while True:
            cursor, keys = await self._server.call("SCAN", cursor, "MATCH", prefix + b"*", "COUNT", 1000)
            await self._unlink([key for key in keys if key.startswith(prefix)])
            if int(cursor) == 0:
                return

    async def _unlink(self, keys: Sequence[bytes]) -> None:
        for start in range(0, len(keys), _BATCH):
            await self._server.call("UNLINK", *keys[start : start + _BATCH])

    async def probe(self, names: Names) -> Probe:
        """Log in as the sandbox and write, read and delete a key that would expire within seconds."""
        started = time.monotonic()
        url = self._url(names, self._server_host)
        client: Any = open_client(url, connections=1, timeout=self._timeout)
        key = f"{names.key_prefix}valhalla.probe"
        try:
            pipeline = client.pipeline(transaction=False)
            pipeline.ping().set(key, "1", px=5000).get(key).delete(key)
            answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            return Probe(False, _since(started), f"cannot log in as the sandbox: {explain(error)}")
        finally:
            await client.aclose(close_connection_pool=True)
        ok = answers[2] == b"1"
        return Probe(ok, _since(started), None if ok else "a key that was written could not be read")

    async def ping(self) -> Probe:
        """Write, read back and delete a key, and look at the users, with the control plane's credentials."""
        started = time.monotonic()
        key, token = f"valhalla:{self._cell.cell}:health:{secrets.token_hex(8)}", secrets.token_hex(8)
        while True:
            try:
                # it expires by itself should nobody delete it
                _, back, _, _ = await self._server.call_all(
                    [("SET", key, token, "PX", 10_000), ("GET", key), ("DEL", key), ("ACL WHOAMI",)]
                )
            except (Unavailable, RedisError) as error:
                # a node that has just started takes two seconds before it lets keys be written
                if "cluster is down" in str(error) and time.monotonic() - started < _STARTING:
                    await asyncio.sleep(0.1)
                    continue
                reason = error.detail if isinstance(error, Unavailable) else explain(error)
                return Probe(False, _since(started), reason)
            break
        well = back == token.encode()
        return Probe(well, _since(started), None if well else "valkey lost what was written")

    async def found(self) -> Sequence[Found]:
        """List the cell's users. Keys without a user are not found; ``remove`` and the registry leave none.

        Raises:
            Unavailable: the server cannot be reached.
        """
        users = [user.decode() for user in await self._server.call("ACL USERS")]
        matches = (self._mark.fullmatch(user) for user in users)
        return [Found(self.name, "user", match[0], match[1]) for match in matches if match]

    async def remove(self, orphan: Found) -> None:
        """Remove a user that ``found`` listed, and its keys.

        Raises:
            Unavailable: the server cannot be reached; the user is listed until all is gone.
        """
        if not self._mark.fullmatch(orphan.name):
            return
        # a user without rights cannot write behind the sweep, and still marks what a crash leaves to do
        await self._server.call("ACL SETUSER", orphan.name, "reset")
        names = Names.for_sandbox(orphan.sandbox_id, cell=self._cell.cell, database="")
        await self.drop(names)
        await self.cut(names)

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return f"{self._server_host}:{self._port}"

    def password(self, names: Names) -> str:
        """Return the user's password; it is derived, not stored."""
        return self._cell.password("sandbox.valkey", names.id)

    def _url(self, names: Names, host: str) -> str:
        where = f"[{host}]" if ":" in host else host
        login = f"{quote(names.valkey_user)}:{quote(self.password(names))}"
        return urlunsplit((self._scheme, f"{login}@{where}:{self._port}", "/0", self._query, ""))

    def connection(self, names: Names, *, expires_at: datetime) -> dict[str, Any]:
        """Return the user's address and credentials; every key and channel must start with ``prefix``."""
        return {
            "url": self._url(names, self._host),
            "host": self._host,
            "port": self._port,
            "user": names.valkey_user,
            "password": self.password(names),
            "prefix": names.key_prefix,
        }

    async def check_server(self) -> list[str]:
        """Return what the server leaves open, in the operator's words; an empty list is the goal.

        Raises:
            Unavailable: the server cannot be reached.
            Misconfigured: it is older than Redis 7, or one of several masters.
        """
        return await self._server.findings()

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
