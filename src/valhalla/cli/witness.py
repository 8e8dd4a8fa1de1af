"""Checkpoints of the ledger as files: kept where the database's owner cannot reach, checked without trusting it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from valhalla.kit.notes import Checkpoint


def keep(file: Path, note: str, public_key: str) -> Path:
    """Write a note, and beside it the key if none was pinned there; return where the key is.

    Raises:
        UsageError: another key is pinned there.
    """
    pinned = beside(file)
    if pinned.exists():
        if pinned.read_text().strip() != public_key:
            raise click.UsageError(
                f"{pinned} holds another key than this control plane's: it is not the one of before, or somebody"
                " changed its key"
            )
    else:
        pinned.write_text(public_key + "\n")
    file.write_text(note)
    return pinned


def beside(file: Path) -> Path:
    """Return where the key of a note is pinned."""
    return file.with_name(file.name + ".pub")


def read(file: Path, key: str | None) -> Checkpoint:
    """Return what a kept note says; ``key`` is the pinned one, the one beside the note if it is not given.

    Raises:
        UsageError: there is no pinned key.
        BadCheckpoint: the note is not signed by it.
    """
    from valhalla.kit.notes import opened

    if key is None:
        pinned = beside(file)
        if not pinned.exists():
            raise click.UsageError(f"there is no {pinned}: give the pinned key with --public-key")
        key = pinned.read_text()
    elif Path(key).is_file():
        key = Path(key).read_text()
    return opened(file.read_text(), key.strip())


def recompute(entries: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Recompute the chain from exported entries up to a checkpoint; the control plane is not asked."""
    head, seq = bytes(32), 0
    with entries.open() as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["seq"] != seq + 1:
                return _report(seq, ok=False, detail=f"entry {seq + 1} is missing")
            said = entry["said"].encode()
            number = int(entry["id"]).to_bytes(8, "big")
            head = hashlib.sha256(head + number + bytes.fromhex(entry["mac"]) + said).digest()
            seq += 1
            if seq == checkpoint.size:
                same = head == checkpoint.hash
                return _report(seq, ok=same, detail="" if same else f"the first {seq} entries are not those signed for")
    return _report(seq, ok=False, detail=f"the export ends at {seq}, the checkpoint is of {checkpoint.size}")


def _report(seq: int, *, ok: bool, detail: str) -> dict[str, Any]:
    fault = None if ok else {"kind": "altered", "seq": seq, "entry": None, "detail": detail}
    return {"ok": ok, "entries": seq, "sealed": seq, "unsealed": 0, "checkpoints": 1, "fault": fault}
