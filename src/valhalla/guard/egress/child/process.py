"""Seals the Python interpreter that imports it, as a whole and for its life."""

from __future__ import annotations

import json
import os

from valhalla.guard.egress import rules
from valhalla.guard.egress.audit import hook
from valhalla.guard.egress.child.reporting import ENVIRONMENT, write
from valhalla.guard.egress.contracts import Layer
from valhalla.guard.egress.current import WHOLE
from valhalla.guard.egress.hooks import HOOKS
from valhalla.guard.egress.seal import Seal
from valhalla.kernel.clock import Clock

# in a network of its own these are the program's own servers; the kernel refuses the rest
_OWN = ("localhost:*", "127.0.0.1:*", "[::1]:*")


def seal_process() -> None:
    """Do it as the environment says; without its word do nothing."""
    words = os.environ.get(ENVIRONMENT)
    if not words or WHOLE:
        return
    told = json.loads(words)
    report = str(told["report"])
    let = rules.make([*_OWN, *told["allow"]], (), (), network_only=True)
    layers = frozenset({Layer.PROTOCOL, Layer.AUDIT})
    WHOLE.append(Seal(let, layers, Clock(), lambda attempt: write(report, attempt)))
    hook.install()
    HOOKS.acquire(protocol=True)
