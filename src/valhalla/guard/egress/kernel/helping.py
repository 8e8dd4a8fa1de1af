"""Our side of the helper: one process per process of ours, started when a held thread first has somewhere to go."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from valhalla.guard.egress.kernel.contracts import Refused
from valhalla.guard.egress.kernel.helper import READY
from valhalla.guard.egress.kernel.install import be_traced_by

if TYPE_CHECKING:
    from valhalla.guard.egress.judging import Judge

_PATIENCE: Final = 20.0
_MODULE: Final = "valhalla.guard.egress.kernel.helper"


class Helping:
    """The helper of this process; a fork needs one of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._owner = 0
        self._pid = 0

    def ready(self) -> None:
        """Have a helper.

        Raises:
            Refused: it cannot be started, or cannot do its work here.
        """
        with self._lock:
            if self._control is None or self._owner != os.getpid():
                # an outer seal must not take this for an attempt
                Context().run(self._start)

    def take(self, listener: int, judge: Judge) -> socket.socket:
        """Hand over a held thread's listener; the socket tells of refused endpoints, and ends the help when closed.

        Raises:
            Refused: the helper is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = json.dumps(judge.destinations()).encode()
        try:
            with self._lock, theirs:
                assert self._control is not None
                socket.send_fds(self._control, [words], [listener, theirs.fileno()])
            ours.settimeout(_PATIENCE)
            if ours.recv(16) != READY:
                raise OSError("it has ended")
        except OSError as error:
            ours.close()
            self._end()
            raise Refused(f"the helper does not answer: {error}") from error
        return ours

    def _start(self) -> None:
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        silent: list[Any] = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
        command = [sys.executable, "-m", _MODULE, str(os.getpid())]
        try:
            with theirs:
                actions: list[Any] = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), *silent]
                # Ctrl-C is for us, not for it
                self._pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
            be_traced_by(self._pid)
            ours.settimeout(_PATIENCE)
            said = ours.recv(1000)
            ours.settimeout(None)
        except OSError as error:
            ours.close()
            raise Refused(f"no helper: {error}") from error
        if said != READY:
            ours.close()
            raise Refused(f"no helper: {said.decode(errors='replace') or 'it did not start'}")
        if self._owner == 0:
            atexit.register(self._end)
        self._control, self._owner = ours, os.getpid()

    def _end(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if self._owner == os.getpid() and self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, os.WNOHANG)


# one per process, as the permission to look into this process is
HELPING: Final = Helping()
