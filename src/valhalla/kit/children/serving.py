"""The child's side: bounded memory, then one answer for each request until its parent has gone."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Answer every line of standard input; an empty request is answered by an empty one: it asks whether we are there.

    What ``answer`` raises ends the process: its parent learns that from the missing answer.
    """
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # what a library prints must not be taken for an answer
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        request: dict[str, Any] = json.loads(line)
        out.write(json.dumps(answer(request) if request else {}).encode() + b"\n")
