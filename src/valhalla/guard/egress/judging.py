"""Every decision of a seal, and the list of what was tried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from valhalla.guard.egress import excerpts
from valhalla.guard.egress.contracts import MAX_ATTEMPTS, Attempt, Layer, Verdict
from valhalla.guard.egress.current import filtered
from valhalla.guard.egress.endpoints import Endpoint
from valhalla.guard.egress.errors import EgressBlocked
from valhalla.guard.egress.rules import Rules
from valhalla.kernel.clock import Clock


class Judge:
    """One seal's rules and attempts; inside of another seal both have to allow, and both keep what was tried."""

    def __init__(self, let: Rules, clock: Clock, tell: Callable[[Attempt], None] | None = None) -> None:
        """``tell`` hears of every attempt, also of those that are too many to keep."""
        self.rules = let
        self.dropped = 0
        self._clock = clock
        self._attempts: list[Attempt] = []
        self._guard = threading.Lock()
        self._tell = tell
        self._parent: Judge | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The first 1,000 attempts, oldest first; ``dropped`` counts those after them."""
        with self._guard:
            return tuple(self._attempts)

    @property
    def blocked(self) -> tuple[Attempt, ...]:
        """The attempts that were blocked."""
        return tuple(attempt for attempt in self.attempts if attempt.verdict == "blocked")

    def request(
        self,
        what: str,
        where: str,
        endpoint: tuple[str, int | None],
        *,
        reads: bool,
        size: int | None = None,
        body: object = None,
        layer: Layer = Layer.PROTOCOL,
    ) -> None:
        """Judge a request whose content is known: a read passes and is kept, anything else needs an allowed endpoint.

        Raises:
            EgressBlocked: it may not go out.
        """
        if self.may_send(*endpoint):
            return
        size = excerpts.size_of(body) if size is None else size
        if reads and filtered() and not self.may_connect(*endpoint):
            # the kernel would swallow it, and the client would wait for an answer that cannot come
            self._keep(what, where, Layer.KERNEL, "blocked", size, excerpts.of_body(body))
            raise EgressBlocked(what, where, Layer.KERNEL)
        self._keep(what, where, layer, "read" if reads else "blocked", size, excerpts.of_body(body))
        if not reads:
            raise EgressBlocked(what, where, layer)

    def may_send(self, host: str, port: int | None) -> bool:
        """Say whether this seal, and those around it, let anything go to an endpoint."""
        return all(seal.rules.may_send(host, port) for seal in self._chain())

    def may_connect(self, host: str, port: int | None) -> bool:
        """Say whether this seal, and those around it, let a connection be made."""
        return all(seal.rules.may_connect(host, port) for seal in self._chain())

    def destinations(self) -> list[list[tuple[str, int | None]]]:
        """Return what each of the seals around lets connect, for who has to decide elsewhere."""
        return [[*seal.rules.allow.known, *seal.rules.reads.known] for seal in self._chain()]

    @property
    def connects(self) -> bool:
        """Whether there is any endpoint to connect to."""
        return all(seal.rules.allow or seal.rules.reads for seal in self._chain())

    @property
    def connects_locally(self) -> bool:
        """Whether there is a Unix socket to connect to."""
        return all(seal.rules.allow.unix or seal.rules.reads.unix for seal in self._chain())

    @property
    def changes_files(self) -> bool:
        """Whether there is a directory in which files may be changed."""
        return all(seal.rules.files or seal.rules.network_only for seal in self._chain())

    def connection(self, what: str, endpoint: tuple[str, int | None], *, layer: Layer = Layer.AUDIT) -> None:
        """Judge a connection, or a datagram, of which only the endpoint is known.

        Raises:
            EgressBlocked: it may not be made.
        """
        if not self.may_connect(*endpoint):
            self.block(what, str(Endpoint(*endpoint)), layer=layer)

    def lookup(self, host: str) -> None:
        """Judge the question for a name, which leaves the machine as well.

        Raises:
            EgressBlocked: the name belongs to no endpoint of the seal.
        """
        if not all(seal.rules.may_resolve(host) for seal in self._chain()):
            self.block("resolve", host)

    def change(self, what: str, path: str | bytes) -> None:
        """Judge a change of a file.

        Raises:
            EgressBlocked: it lies outside of the directories of the seal.
        """
        if not self.may_change(path):
            self.block(what, excerpts.words(path if isinstance(path, str) else path.decode(errors="replace")))

    def may_change(self, path: str | bytes) -> bool:
        """Say whether a file may be changed."""
        return all(seal.rules.network_only or seal.rules.may_change(path) for seal in self._chain())

    def tell_change(self, what: str, path: str) -> bool:
        """Like ``change`` for callers that must not raise: keep a blocked attempt and say whether it may be made."""
        allowed = self.may_change(path)
        if not allowed:
            self._keep(what, path, Layer.PROTOCOL, "blocked", None, "")
        return allowed

    def effect(self, what: str, where: str) -> None:
        """Judge an effect on this machine that is neither a file nor the network: a process, a library.

        Raises:
            EgressBlocked: the seal covers more than the network.
        """
        if not all(seal.rules.network_only for seal in self._chain()):
            self.block(what, where)

    def block(self, what: str, where: str, *, layer: Layer = Layer.AUDIT, excerpt: str = "") -> NoReturn:
        """Keep the attempt and stop it.

        Raises:
            EgressBlocked: always.
        """
        self._keep(what, where, layer, "blocked", None, excerpt)
        raise EgressBlocked(what, where, layer)

    def _keep(self, what: str, where: str, layer: Layer, verdict: Verdict, size: int | None, excerpt: str) -> None:
        self.keep(Attempt(what, where, size, excerpt, layer, verdict, self._clock.now()))

    def keep(self, attempt: Attempt) -> None:
        """Add an attempt, here and in the seals around."""
        for seal in self._chain():
            with seal._guard:
                if len(seal._attempts) < MAX_ATTEMPTS:
                    seal._attempts.append(attempt)
                else:
                    seal.dropped += 1
            if seal._tell is not None:
                seal._tell(attempt)

    def refused_elsewhere(self, where: tuple[str, int | None] | None) -> None:
        """Keep a connection that the kernel's layer has refused."""
        self._keep(
            "connect", str(Endpoint(*where)) if where else "an unreadable address", Layer.KERNEL, "blocked", None, ""
        )

    def _chain(self) -> Iterator[Judge]:
        seal: Judge | None = self
        while seal is not None:
            yield seal
            seal = seal._parent
