"""A process of its own that runs a stack: parent.py DATA_DIR WANT [orphans]; prints the servers' pids, then waits."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from valhalla.embedded import Stack, process, server
from valhalla.kit.cellkey import CellKey
from valhalla.kit.natsauth import trust


def spawn_without_death_signal(program: process.Program, spawner: Any) -> process.Child:
    """Start a child that outlives its parent, as on a system without parent-death signals."""
    nothing: Any = 0
    return process.spawn(replace(program, death_signal=nothing), spawner)


if sys.argv[3:] == ["orphans"]:
    server.spawn = spawn_without_death_signal
cell = CellKey(b"embedded servers' test cell key!")
stack = Stack(Path(sys.argv[1]), cell, want=frozenset(sys.argv[2].split(",")), nats_operator=trust(cell))


def stop(*_: object) -> None:
    """Stop from inside a signal handler."""
    stack.stop()
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
stack.start(settle=False)
print(json.dumps(stack.pids()), flush=True)
time.sleep(60)
