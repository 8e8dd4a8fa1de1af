"""Background jobs on one Postgres, beside what people use instead: submit in batches, drain, start, idle."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg

from bench.jobs_kinds import KINDS
from bench.report import Figure, figure, publish
from bench.servers import postgres_alone
from valhalla.kit.migrate import upgrade_blocking

TURNS = 3
COUNT = {"valhalla": 10_000, "procrastinate": 1_000, "dbos": 1_000}
# microseconds per job: 20,000 and 3,000 jobs a second
GOALS = {"submit": 50.0, "drain": 1_000_000 / 3000, "start": 6.0, "idle": 1.0}
WORDS = {
    "submit": ("batch submit", "us/job"),
    "drain": ("drain, one worker", "us/job"),
    "start": ("idle submit to start", "ms"),
    "idle": ("idle worker", "% CPU"),
}


def run() -> None:
    """Start a throw-away Postgres, measure in turns and publish."""
    with postgres_alone() as lent:
        samples = _measure(lent.url)
    figures: list[Figure] = []
    for name, found in samples.items():
        for key, (words, unit) in WORDS.items():
            goal = GOALS[key] if name == "valhalla" else None
            figures.append(figure(f"{name}: {words}", unit, found[key], goal))
    publish("Jobs: in Postgres, beside what people use", figures)
    _compare(samples)


def _measure(url: str) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {}
    # in turns, so that a noisy minute of the machine hits all of them and not one
    for turn in range(TURNS):
        for name in KINDS:
            try:
                found = _alone(url, name, turn)
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                print(f"{name} does not run here: {error}")
                continue
            into = samples.setdefault(name, {key: [] for key in WORDS})
            for key, values in found.items():
                into[key] += values
    return samples


def _alone(url: str, name: str, turn: int) -> dict[str, list[float]]:
    """Run one kind in a process and a database of its own."""
    base = url.rsplit("/", 1)[0]
    database = f"jobs_{name}_{turn}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    if name == "valhalla":
        upgrade_blocking(f"{base}/{database}")
    command = [sys.executable, "-m", "bench.jobs_kinds", name, f"{base}/{database}", str(COUNT[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1:] or done.returncode)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _compare(samples: dict[str, dict[str, list[float]]]) -> None:
    """Say in words how many times faster than each peer it drains."""
    ours = samples.get("valhalla")
    if ours is None:
        return
    rate = 1e6 / _middle(ours["drain"])
    print(f"drain {rate:.0f}/s (goal 3000), batch submit {1e6 / _middle(ours['submit']):.0f}/s (goal 20000)")
    for name, found in samples.items():
        if name != "valhalla":
            theirs = 1e6 / _middle(found["drain"])
            print(f"{name}: drain {theirs:.0f}/s, ours is {rate / theirs:.1f} x (goal 5)")


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    run()
