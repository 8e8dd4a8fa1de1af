"""A seal: while its block runs, nothing goes out but to the endpoints it names, and every try is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, Token
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from valhalla.guard.egress import rules
from valhalla.guard.egress.audit import hook
from valhalla.guard.egress.contracts import EVERY, Attempt, Cover, Coverage, Layer
from valhalla.guard.egress.current import BLOCK, active
from valhalla.guard.egress.errors import SealMisuse
from valhalla.guard.egress.hooks import HOOKS
from valhalla.guard.egress.judging import Judge
from valhalla.kernel.clock import Clock

if TYPE_CHECKING:
    from valhalla.guard.egress.kernel.contracts import Locked

T = TypeVar("T")

_NOT_ASKED: Final = "not asked for"
_BLOCK_ONLY: Final = "a block stays on its caller's thread, which must stay free; seal.run(callable) adds this layer"
_PYTHON_ONLY: Final = "Python code of this interpreter only; open connections of C libraries pass"


class Seal(Judge):
    """One sealed block, sync or async; see ``sealed``. It is used once."""

    def __init__(
        self,
        let: rules.Rules,
        layers: frozenset[Layer],
        clock: Clock,
        tell: Callable[[Attempt], None] | None = None,
    ) -> None:
        super().__init__(let, clock, tell)
        self.layers = layers
        self.lifted = False
        self._token: Token[Seal | None] | None = None
        self._entered = False
        self._undo: list[Callable[[], None]] = []
        self._hooked = ""
        self._kernel = Cover(False, _BLOCK_ONLY if Layer.KERNEL in layers else _NOT_ASKED)

    @property
    def coverage(self) -> Coverage:
        """Which layers are in place, and why the others are not."""
        protocol, audited = Layer.PROTOCOL in self.layers, Layer.AUDIT in self.layers
        return Coverage(
            {
                Layer.PROTOCOL: Cover(protocol, (self._hooked or HOOKS.described()) if protocol else _NOT_ASKED),
                Layer.AUDIT: Cover(audited, _PYTHON_ONLY if audited else _NOT_ASKED),
                Layer.KERNEL: self._kernel,
            }
        )

    def run(self, function: Callable[[], T], *, deadline: float | None = 60.0) -> T:
        """Call ``function`` on a thread of its own that the kernel holds as well, where the platform can do it.

        Args:
            function: what to call; the thread ends with it.
            deadline: seconds to wait for it; a client that cannot send may wait for its answer for ever.

        Raises:
            SealTimeout: it did not end in time; its thread goes on, sealed.
            SealMisuse: the block is not entered.
        """
        self._need_open()
        from valhalla.guard.egress.kernel import thread

        return thread.run(self, function, deadline)

    async def arun(self, function: Callable[[], Awaitable[T]], *, deadline: float | None = 60.0) -> T:
        """Await ``function()`` on an event loop of its own, in a thread that the kernel holds; else like ``run``.

        What belongs to the caller's loop (open clients, locks) cannot be used in it.
        """
        self._need_open()
        from valhalla.guard.egress.kernel import thread

        return await thread.arun(self, function, deadline)

    def at_exit(self, undo: Callable[[], None]) -> None:
        """Call ``undo`` when the block ends."""
        self._undo.append(undo)

    def covered(self, locked: Locked) -> None:
        """Learn what the kernel's layer did for ``run``."""
        self._hooked = ""
        self._kernel = Cover(locked.active, locked.reason)

    def _need_open(self) -> None:
        if self._token is None:
            raise SealMisuse("this seal's block is not entered")

    def __enter__(self) -> Self:
        if self._entered:
            raise SealMisuse("this seal has been used")
        self._entered = True
        self._parent = active()
        if Layer.AUDIT in self.layers:
            hook.install()
        if Layer.KERNEL in self.layers:
            # an outer seal must not take the loading of our own libraries for an attempt
            Context().run(import_module, "valhalla.guard.egress.kernel.thread")
        HOOKS.acquire(protocol=Layer.PROTOCOL in self.layers)
        self._token = BLOCK.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        try:
            if token is not None:
                BLOCK.reset(token)
        except ValueError:
            # entered in another context, which cannot be reached from here: it must not stay sealed for ever
            self.lifted = True
        finally:
            while self._undo:
                self._undo.pop()()
            self._hooked = HOOKS.described()
            HOOKS.release(protocol=Layer.PROTOCOL in self.layers)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def sealed(
    allow: Iterable[str] = (),
    *,
    reads: Iterable[str] = (),
    files: Iterable[str | Path] = (),
    layers: Iterable[Layer] = EVERY,
    clock: Clock | None = None,
) -> Seal:
    """Seal a block: ``with sealed(allow=["127.0.0.1:5432"]) as seal``, or ``async with``.

    What begins inside (threads, tasks, work handed to a pool) stays sealed until it ends, also after the block.

    Args:
        allow: endpoints to which anything may go: ``host:port``, ``host:*``, ``unix:/path`` or a URL.
        reads: endpoints to which connections may be made for requests that only read; ``*`` is any.
        files: directories in which files may be written and removed.
        layers: the layers to use, all by default; ``seal.coverage`` says which are in place.
        clock: for the attempts' instants.

    Raises:
        Invalid: an endpoint is none.
    """
    return Seal(rules.make(allow, reads, files, network_only=False), frozenset(layers), clock or Clock())
