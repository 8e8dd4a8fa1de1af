"""The field of the attacks on Valkey: two sandboxes, with everything of B's that an attack could touch."""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from valhalla.sandbox.slices.contracts import Names
from valhalla.sandbox.slices.valkey import ValkeySlice


@dataclass(frozen=True)
class Refusal:
    """An error that the server sent."""

    text: str


async def read(reader: asyncio.StreamReader) -> Any:
    """Read one RESP2 answer. A client library would log in again behind our back after some errors."""
    line = (await reader.readline()).decode()
    assert line, "the server closed the connection"
    kind, text = line[0], line[1:-2]
    if kind == "-":
        return Refusal(text)
    if kind == "$":
        return None if text == "-1" else (await reader.readexactly(int(text) + 2))[:-2]
    if kind == "*":
        return None if text == "-1" else [await read(reader) for _ in range(int(text))]
    return int(text) if kind == ":" else text


@dataclass
class Field:
    """Two sandboxes, with everything of B's that an attack could touch."""

    part: ValkeySlice
    a: Names
    b: Names
    admin: Any
    connection_a: dict[str, Any]
    client_b: Any
    subscriber_b: Any

    def fill(self, text: str) -> list[str]:
        names = {"{A}": self.a.key_prefix, "{B}": self.b.key_prefix, "{userB}": self.b.valkey_user}
        return [re.sub(r"\{(?:A|B|userB)\}", lambda match: names[match[0]], word) for word in shlex.split(text)]

    async def run(self, script: str) -> list[Any]:
        """Run commands separated by `` | `` as A, on one new connection."""
        where = self.connection_a
        reader, writer = await asyncio.open_connection(where["host"], where["port"])
        answers: list[Any] = []
        try:
            for words in (["AUTH", where["user"], where["password"]], *map(self.fill, script.split(" | "))):
                parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
                writer.write(f"*{len(parts)}\r\n{''.join(parts)}".encode())
                async with asyncio.timeout(2):
                    answers.append(await read(reader))
        finally:
            writer.close()
            await writer.wait_closed()
        assert answers[0] == "OK"
        return answers[1:]

    async def check_rule(self, attack: str) -> None:
        """Ask the server whether A's rule would refuse the command if it were there."""
        try:
            verdict = await self.admin.execute_command("ACL DRYRUN", self.a.valkey_user, *self.fill(attack))
        except ResponseError as error:
            assert "not found" in str(error)  # noqa: PT017 - an unknown command needs no rule
        else:
            assert b"permission" in verdict, verdict

    async def state(self) -> tuple[Any, ...]:
        """Everything of B and of the server that an attack could change."""
        names = sorted([key async for key in self.admin.scan_iter(match=f"{self.b.key_prefix}*", count=1000)])
        pipeline = self.admin.pipeline(transaction=False)
        for key in names:
            pipeline.dump(key)
            pipeline.pexpiretime(key)
            pipeline.object("encoding", key)
        pipeline.acl_users()
        pipeline.config_get("maxmemory*", "proto-max-bulk-len", "requirepass", "dir")
        pipeline.execute_command("FUNCTION LIST")
        return tuple(names), *(str(answer) for answer in await pipeline.execute())


def lines(text: str) -> list[str]:
    """Return the attacks of one table."""
    return text.strip().split("\n")
