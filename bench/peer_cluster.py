"""testing.postgresql: a whole cluster per test. Runs in a process of its own, because Postgres refuses root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_ROUNDS = 4


def cluster_times() -> dict[str, list[float]]:
    """Return milliseconds by step (``get``, ``first``, ``cycle``).

    Raises:
        RuntimeError: it does not run here; says why.
    """
    from valhalla.embedded.accounts import server_account
    from valhalla.embedded.binaries import postgres_program

    account = server_account()
    with tempfile.TemporaryDirectory(prefix="valhalla-bench-") as home:
        if account is not None:
            os.chown(home, account.uid, account.gid)
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                str(postgres_program("initdb")),
                str(postgres_program("postgres")),
                *([] if account is None else [str(account.uid), str(account.gid)]),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
            env={"PATH": os.environ["PATH"], "TMPDIR": home, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return json.loads(done.stdout)


def _main(initdb: str, postgres: str, *account: str) -> dict[str, list[float]]:
    import encodings.idna  # noqa: F401 - a look-up of a host name loads it

    import psycopg
    import testing.postgresql  # pyright: ignore[reportMissingTypeStubs]

    from bench.peer_kinds import community

    contents = community()
    if account:
        # only now: the other account may not be able to read where Python and its packages are
        uid, gid = map(int, account)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)

    def fill(cluster: Any) -> None:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute(contents)

    factory: Any = testing.postgresql.PostgresqlFactory(
        initdb=initdb, postgres=postgres, cache_initialized_db=True, on_initialized=fill
    )
    times: dict[str, list[float]] = {"get": [], "first": [], "cycle": []}
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        cluster: Any = factory()
        times["get"].append((time.perf_counter() - started) * 1000)
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("INSERT INTO communities (name) VALUES ('bench')")
            times["first"].append((time.perf_counter() - started) * 1000)
        cluster.stop()
        times["cycle"].append((time.perf_counter() - started) * 1000)
    factory.clear_cache()
    return times


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
