"""``make bench``: every benchmark, or those that are named."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "startup",
    "gate",
    "sandboxes",
    "pool",
    "scale",
    "peers",
    "testing",
    "simulate_cells",
    "guard",
    "guard_stores",
    "guard_valkey",
    "governor",
    "jobs",
    "events",
    "lanes",
    "discord",
    "router",
    "blocks",
    "flags",
    "blocklist",
    "decisions",
    "policies",
    "changes",
    "reaction",
    "logs",
    "exports",
    "purge",
    "webhooks",
    "proxy",
    "console",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, all of them without a name."""
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names or ALL:
        importlib.import_module(f"bench.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
