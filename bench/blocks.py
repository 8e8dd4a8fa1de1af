"""The blocks in one process, beside what the standard library does of the same; all take turns in each round."""

from __future__ import annotations

import functools
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import Figure, figure, publish
from valhalla import AlertSystem, SandboxOrchestrator, SchedulerHeartbeat, WorkerProcess
from valhalla.blocks.errors import WorkerQueueFull

ROUNDS = 5
SUBMITS = 20_000
STARTS = 300
CALLS = 5000
JOBS = 1_000_000
STORM = 100_000

_MEMORY = """
from valhalla import SandboxOrchestrator
sandbox = SandboxOrchestrator(use_memory_db=True)
sandbox.initialize()
assert sandbox.is_ready()
sandbox.get_status()
"""
_SIZE = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


def run() -> None:
    """Measure and publish."""
    publish("Blocks: worker, alerts, heartbeat, orchestrator", [*_worker(), *_callers(), *_orchestrator(), *_memory()])


# -- WorkerProcess -----------------------------------------------------------------------------------------------------


def _worker() -> list[Figure]:
    starts: dict[str, list[float]] = {"worker": [], "executor": []}
    submits: dict[str, list[float]] = {"worker": [], "own": [], "executor": [], "queue": []}
    with WorkerProcess() as worker, ThreadPoolExecutor(1) as executor:
        for _ in range(ROUNDS):
            starts["worker"] += _starts(lambda call: worker.submit_job("start", call))
            starts["executor"] += _starts(executor.submit)
            own = time.thread_time()
            submits["worker"].append(_rate(lambda: worker.submit_job("nothing", _nothing)))
            submits["own"].append((time.thread_time() - own) / SUBMITS * 1e6)
            _drained(lambda: worker.pending_count == 0)
            submits["executor"].append(_rate(lambda: executor.submit(_nothing)))
            executor.submit(_nothing).result()
            submits["queue"].append(_rate(functools.partial(queue.SimpleQueue[object]().put, _nothing)))
    sizes, seconds = _million()
    return [
        figure("WorkerProcess: submit to start, idle", "ms", starts["worker"], goal=0.2),
        figure("  ThreadPoolExecutor: submit to start", "ms", starts["executor"]),
        figure("WorkerProcess: one submit (50,000/s)", "us", submits["worker"], goal=20),
        figure("  of it the caller's own CPU", "us", submits["own"]),
        figure("  ThreadPoolExecutor: one submit", "us", submits["executor"]),
        figure("  SimpleQueue: one put", "us", submits["queue"]),
        figure("WorkerProcess: 1,000,000 jobs, each", "us", [seconds / JOBS * 1e6]),
        figure("WorkerProcess: memory gained by jobs 100,001 on", "MB", [max(sizes) - sizes[0]], goal=2),
    ]


def _nothing() -> None:
    pass


def _starts(submit: Callable[[Callable[[], None]], object]) -> list[float]:
    samples: list[float] = []
    for _ in range(STARTS):
        submitted = time.perf_counter()

        def note(submitted: float = submitted) -> None:
            samples.append((time.perf_counter() - submitted) * 1000)

        submit(note)
        # idle again before the next
        time.sleep(0.001)
    return samples


def _rate(submit: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(SUBMITS):
        submit()
    return (time.perf_counter() - began) / SUBMITS * 1e6


def _drained(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.001)


def _million() -> tuple[list[float], float]:
    sizes: list[float] = []
    began = time.perf_counter()
    with WorkerProcess(max_pending=1000) as worker:
        for _ in range(10):
            left = JOBS // 10
            while left:
                try:
                    worker.submit_job("nothing", _nothing)
                    left -= 1
                except WorkerQueueFull:
                    time.sleep(0.0005)
            sizes.append(_size())
    return sizes, time.perf_counter() - began


def _size() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


# -- what a caller pays ------------------------------------------------------------------------------------------------


def _callers() -> list[Figure]:
    context = {"order": "A-1", "cents": 500}
    with AlertSystem() as alerts, SchedulerHeartbeat() as heartbeat:
        alerts.subscribe("*", lambda _: time.sleep(0.01))
        numbers = iter(range(10**9))
        repeated = _timed(lambda: alerts.alert("payment", "the bank does not answer", "error", context))
        fresh = _timed(lambda: alerts.alert(f"payment-{next(numbers)}", "the bank does not answer", "error", context))
        beats = _timed(lambda: heartbeat.beat("worker"))
        before = _size()
        for number in range(STORM):
            alerts.alert(f"storm-{number}", "x", "error", context)
        gained = _size() - before
    return [
        figure("alert, repeated, with a slow subscriber", "us", repeated, goal=20),
        figure("alert, new, with a slow subscriber", "us", fresh, goal=20),
        figure("heartbeat", "us", beats, goal=20),
        figure("100,000 different alerts: memory gained", "MB", [gained], goal=2),
    ]


def _timed(call: Callable[[], object]) -> list[float]:
    clock, samples = time.perf_counter_ns, list[float]()
    for _ in range(CALLS):
        began = clock()
        call()
        samples.append((clock() - began) / 1000)
    return samples


# -- SandboxOrchestrator -----------------------------------------------------------------------------------------------


def _orchestrator() -> list[Figure]:
    begins: list[float] = []
    ends: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        sandbox = SandboxOrchestrator(use_memory_db=True)
        sandbox.initialize()
        begins.append((time.perf_counter() - began) * 1000)
        sandbox.worker.wait(sandbox.worker.submit_job("nothing", _nothing))
        began = time.perf_counter()
        sandbox.cleanup()
        ends.append((time.perf_counter() - began) * 1000)
    return [
        figure("orchestrator: construct and initialize", "ms", begins, goal=50),
        figure("orchestrator: cleanup", "ms", ends, goal=100),
    ]


def _memory() -> list[Figure]:
    bare = statistics.median(_used("") for _ in range(3))
    used = [_used(_MEMORY) - bare for _ in range(3)]
    return [figure("orchestrator over the interpreter", "MB", used, goal=20)]


def _used(program: str) -> float:
    done = subprocess.run([sys.executable, "-c", program + _SIZE], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024
