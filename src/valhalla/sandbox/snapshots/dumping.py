"""What a sandbox holds as one SQL text, for who takes it elsewhere. Nothing of it is run here, now or later."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from valhalla.kernel.principal import SYSTEM, Principal
from valhalla.kit.sql import identifier
from valhalla.sandbox.errors import SandboxNotFound
from valhalla.sandbox.snapshots.service import SnapshotService
from valhalla.sandbox.templates.restoring import CONTENTS, SETTINGS, Contents

_HEAD = """\
-- What the schema of a sandbox held. It was written in that sandbox: look at it before you run it, and run it
-- with a role that may do no more than what is written here should.
"""


class Dumper:
    """Writes dumps for exports."""

    def __init__(self, snapshots: SnapshotService, find: Callable[[str], Principal | None]) -> None:
        """``find`` says who a client is now: rights that were lost since it asked hold no more."""
        self._snapshots = snapshots
        self._find = find

    async def dump(self, actor: str, owner: str, reference: str, target: Path) -> tuple[int, int]:
        """Write a dump to a new file; return its rows and bytes.

        Raises:
            SandboxNotFound, NotRunning, SliceMissing: there is nothing to dump for this client.
            SnapshotUnsupported, SnapshotTooLarge, SnapshotFailed: it cannot be copied.
            Unavailable: Postgres cannot be reached.
            OSError: there is no room.
        """
        principal = SYSTEM if actor == SYSTEM.id else self._find(actor)
        if principal is None or principal.owner != owner:
            raise SandboxNotFound("who asked for the dump has no valid key any more")
        folder = target.with_name(f".{target.name}.parts")
        await asyncio.to_thread(_fresh, folder)
        try:
            copied = await self._snapshots.write(principal, reference, folder)
            size = await asyncio.to_thread(_assemble, folder, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
        return copied.rows, size


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def _assemble(folder: Path, target: Path) -> int:
    contents = msgspec.json.decode((folder / CONTENTS).read_bytes(), type=Contents)
    schema = identifier(contents.schema)
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:

        def line(text: str) -> None:
            file.write(text.encode() + b"\n")

        line(f"{_HEAD}{SETTINGS}\nCREATE SCHEMA IF NOT EXISTS {schema};\nSET search_path = {schema};")
        for statement in contents.before:
            line(f"{statement};")
        for rows in contents.rows:
            columns = ", ".join(map(identifier, rows.columns))
            line(f"COPY {schema}.{identifier(rows.table)} ({columns}) FROM stdin;")
            with (folder / rows.file).open("rb") as source:
                shutil.copyfileobj(source, file, 2**20)
            line("\\.")
        for statement in contents.after:
            line(f"{statement};")
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
