"""One confined program: prepared in its own process before it begins, served and watched from ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from valhalla.guard.egress import rules
from valhalla.guard.egress.child import doors, network, plan
from valhalla.guard.egress.child.reporting import ENVIRONMENT, read
from valhalla.guard.egress.child.watch import Watch, program
from valhalla.guard.egress.contracts import Attempt, Cover, Coverage, Layer
from valhalla.guard.egress.endpoints import parse
from valhalla.guard.egress.errors import CannotSeal
from valhalla.guard.egress.judging import Judge
from valhalla.guard.egress.kernel import install
from valhalla.guard.egress.kernel.contracts import Refused
from valhalla.guard.egress.kernel.syscalls import Architecture, architecture
from valhalla.kernel.clock import Clock

_SITE: Final = Path(__file__).with_name("site")
_OPEN: Final = "the network has doors to {doors} and no other way out; "
_FAILED: Final = b"!"


class Confined:
    """Use it around the start of one program: ``prepare`` in the child before exec, ``started`` in ours after it."""

    def __init__(self, allow: Iterable[str], clock: Clock | None = None) -> None:
        """Work out the doors.

        Raises:
            Invalid: an endpoint is none.
            CannotSeal: it has no address, or the platform has no namespaces.
        """
        if sys.platform != "linux":
            raise CannotSeal(f"{sys.platform} has no network namespaces")
        # as endpoints: a URL may carry a password
        self.allow = tuple(str(parse(text)) for text in allow)
        self._plan = plan.make(self.allow)
        self._judge = Judge(rules.make(self.allow, (), (), network_only=True), clock or Clock())
        self._clock = clock or Clock()
        self._machine: Architecture | None = None
        with contextlib.suppress(Refused):
            self._machine = architecture()
        self._stack = contextlib.ExitStack()
        self._server: _Server | None = None
        self._watched = "not started"

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="valhalla-seal-")))
        self._report = self._folder / "attempts.jsonl"
        self._report.touch(0o600)
        self._hosts = self._folder / "hosts"
        if self._plan.hosts is not None:
            self._hosts.write_text(self._plan.hosts)
        self._ours, self._theirs = socket.socketpair()
        self._stack.callback(self._ours.close)
        self._stack.callback(self._theirs.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
        for attempt in read(self._report):
            self._judge.keep(attempt)
        self._stack.close()

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return ``base`` with what a Python program reads to seal itself as well."""
        path = base.get("PYTHONPATH")
        words = json.dumps({"allow": self.allow, "report": str(self._report)})
        return {**base, ENVIRONMENT: words, "PYTHONPATH": os.pathsep.join([str(_SITE), *([path] if path else [])])}

    def prepare(self) -> None:
        """Leave the network; runs in the new process between fork and exec, so it imports nothing.

        Raises:
            CannotSeal: the kernel refuses; our side learns why from ``started``.
        """
        try:
            self._prepare()
        except BaseException as error:
            text = error.detail if isinstance(error, CannotSeal) else str(error)
            self._theirs.send(_FAILED + text.encode(errors="replace")[:1000])
            raise

    def _prepare(self) -> None:
        network.separate()
        if self._plan.hosts is not None:
            network.cover(str(plan.HOSTS), str(self._hosts))
        left = [path for path in self._plan.hidden if not network.cover(path, "/dev/null")]
        made = network.listen(self._plan.doors)
        listener = self._filter()
        names = [list(door.getsockname()[:2]) for door in made]
        words = json.dumps({"doors": names, "watched": listener is not None, "left": left}).encode()
        handed = [*(door.fileno() for door in made), *([listener] if listener is not None else [])]
        socket.send_fds(self._theirs, [words], handed)

    def _filter(self) -> int | None:
        if self._machine is None:
            return None
        try:
            # in its own namespaces this process has the privilege, and its program keeps set-user-id
            return install.install(program(self._machine), listener=True, privileges=True)
        except Refused:
            return None

    def started(self) -> None:
        """Serve the doors from now on.

        Raises:
            CannotSeal: ``prepare`` failed, and the program was not started.
        """
        self._theirs.close()
        words, handed, _, _ = socket.recv_fds(self._ours, 65536, 250)
        if not words or words[:1] == _FAILED:
            reason = words[1:].decode(errors="replace") or "the process ended before it was sealed"
            raise CannotSeal(f"the program was not started: {reason}")
        told = json.loads(words)
        doors_made = [socket.socket(fileno=number) for number in handed[: len(told["doors"])]]
        listener = handed[len(told["doors"])] if told["watched"] else None
        left: list[str] = told["left"]
        self._watched = "connections of every program are recorded" if listener is not None else "unrecorded"
        if left:
            self._watched += f"; {len(left)} local daemons stay reachable: {', '.join(left[:5])}"
        targets = [(str(host), int(port)) for host, port in told["doors"]]
        hidden = frozenset(self._plan.hidden) - frozenset(left)
        watch = None
        if listener is not None and self._machine is not None:
            watch = Watch(listener, self._machine, frozenset(targets), hidden, self._keep)
        self._server = _Server(list(zip(doors_made, targets, strict=True)), listener, watch)
        self._server.start()

    def _keep(self, what: str, where: str, layer: Layer) -> None:
        self._judge.keep(Attempt(what, where, None, "", layer, "blocked", self._clock.now()))

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was tried, by every process of the program; those of Python itself are there after the end."""
        return self._judge.attempts

    @property
    def dropped(self) -> int:
        """How many attempts were too many to keep."""
        return self._judge.dropped

    @property
    def coverage(self) -> Coverage:
        """Which layers were in place."""
        python = "Python programs that can import valhalla and read the environment (not -I, -E or -S)"
        named = _OPEN.format(doors=", ".join(self.allow) or "nothing")
        layers = {Layer.PROTOCOL: Cover(True, python), Layer.AUDIT: Cover(True, python)}
        return Coverage({**layers, Layer.KERNEL: Cover(self._server is not None, named + self._watched)})


class _Server:
    """A thread with an event loop for the doors and the questions."""

    def __init__(
        self, pairs: list[tuple[socket.socket, tuple[str, int]]], listener: int | None, watch: Watch | None
    ) -> None:
        self._pairs = pairs
        self._listener = listener
        self._watch = watch
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="valhalla-doors", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _end(self) -> None:
        """End the connections that the program left open."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self) -> None:
        servers: list[Any] = [await doors.serve(door, target) for door, target in self._pairs]
        if self._listener is not None and self._watch is not None:
            self._loop.add_reader(self._listener, self._question)
        await self._ended.wait()
        for server in servers:
            server.close()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            os.close(self._listener)

    def _question(self) -> None:
        try:
            assert self._watch is not None
            self._watch.answer()
        except OSError:
            # the last process has gone: the listener would be readable for ever
            if self._listener is not None:
                self._loop.remove_reader(self._listener)
