"""One router in a process of its own, which may be killed."""

from __future__ import annotations

import asyncio
import json
import sys

import msgspec

from valhalla.kernel.problems import Problem
from valhalla.sandbox.routing.contracts import Sizes
from valhalla.sandbox.routing.foreign.contracts import EventSource
from valhalla.sandbox.routing.foreign.hop import Hop


async def main(spec: dict[str, str]) -> None:
    """Route until it is killed."""
    source = msgspec.convert(spec["source"], EventSource)
    hop = Hop(source, spec["url"], creds=spec["creds"], control=spec["control"], sizes=Sizes(max_bytes=2**30))
    try:
        await hop.run(asyncio.Event())
    except Problem as problem:
        sys.exit(problem.detail)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.read())))
