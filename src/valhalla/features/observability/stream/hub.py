"""Who listens, and what waits for each: every event is written once, however many hear of it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from valhalla.features.observability.stream import rules
from valhalla.features.observability.stream.contracts import NOTHING, SCOPE, Bounds, Ending, Frame, Recheck
from valhalla.features.observability.stream.errors import TooManyStreams
from valhalla.kernel.ids import new_id
from valhalla.kernel.principal import Principal
from valhalla.kernel.problems import Problem, Unavailable
from valhalla.kit.outbox import Event


class Listener:
    """One open stream. Its queue is bounded: who does not read is let go, and resumes where it was."""

    __slots__ = ("_most", "_recheck", "ended", "principal", "queue", "topics", "wake")

    def __init__(self, principal: Principal, topics: frozenset[str], recheck: Recheck, most: int) -> None:
        self.principal = principal
        self.topics = topics
        self.queue: deque[Frame] = deque()
        self.wake = asyncio.Event()
        self.ended: Ending | None = None
        self._recheck = recheck
        self._most = most

    def hears(self, subject: str, data: Mapping[str, Any]) -> bool:
        """Say whether it asked for an event and may know it."""
        return rules.covers(self.topics, subject) and rules.may_know(self.principal, subject, data)

    def offer(self, frame: Frame) -> None:
        """Let it wait for a frame."""
        if self.ended is not None:
            return
        if len(self.queue) >= self._most:
            self.end("slow")
            return
        self.queue.append(frame)
        self.wake.set()

    def end(self, why: Ending) -> None:
        """Let it go; what waited is dropped, since it can be asked for again."""
        if self.ended is None:
            self.ended = why
            self.queue.clear()
            self.wake.set()

    def recheck(self) -> None:
        """Ask again who this is: rights that were taken away end now."""
        try:
            principal = self._recheck()
            if principal is not None:
                principal.require(SCOPE)
                rules.check(principal, self.topics - NOTHING)
        except Problem:
            principal = None
        if principal is None:
            self.end("unauthenticated")
        else:
            self.principal = principal


class Hub:
    """The listeners of one process."""

    def __init__(self, bounds: Bounds, revisions: Callable[[], Mapping[str, int]]) -> None:
        """``revisions`` are those of the registries, by name."""
        self.bounds = bounds
        self.listeners: set[Listener] = set()
        self.wanted = asyncio.Event()
        """Set while somebody listens."""
        self.ready = asyncio.Event()
        """Set while events are being heard."""
        self.safe = 0
        """Everything up to this id was offered: where to resume."""
        self.dropped: Counter[str] = Counter()
        self.told = 0
        self._revisions = revisions
        self._closed = False

    def join(self, principal: Principal, topics: frozenset[str], recheck: Recheck) -> Listener:
        """Let somebody listen from now on.

        Raises:
            TooManyStreams: this key or all together have as many as allowed.
            Unavailable: the process is about to end.
        """
        if self._closed:
            raise Unavailable("events", "this process is about to end", retry_after=1.0)
        mine = sum(one.principal.id == principal.id for one in self.listeners)
        if mine >= self.bounds.per_principal or len(self.listeners) >= self.bounds.total:
            raise TooManyStreams(f"{mine} of this key are open", limit=self.bounds.per_principal, retry_after=10.0)
        listener = Listener(principal, topics, recheck, self.bounds.queue)
        self.listeners.add(listener)
        self.wanted.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a stream that has ended."""
        self.listeners.discard(listener)
        if listener.ended is not None:
            self.dropped[listener.ended] += 1
        if not self.listeners:
            self.wanted.clear()

    def publish(self, events: Iterable[Event], safe: int) -> None:
        """Offer events to everybody who may know them; ``safe`` is where one resumes who saw all of them."""
        for event in events:
            frame: Frame | None = None
            for listener in self.listeners:
                if listener.hears(event.subject, event.data):
                    frame = frame or frame_of(event, min(event.id, safe))
                    listener.offer(frame)
                    self.told += 1
        self.safe = safe

    def registry_changed(self, registry: str, revision: int) -> None:
        """Tell that a registry has a new revision; this is kept nowhere, the registry's history is."""
        subject = f"{rules.REGISTRY}.{registry}"
        for listener in self.listeners:
            if listener.hears(subject, {}):
                listener.offer(registry_frame(registry, revision))
                self.told += 1

    def hinted(self, topic: str) -> None:
        """Tell that there is more of something which has no events of its own (``kit.notices``)."""
        if rules.HINTS.get(topic) is None:
            return
        for listener in self.listeners:
            # who did not ask for it hears nothing: there would be several a second
            if topic in listener.topics and listener.hears(topic, {}):
                listener.offer(hint_frame(topic))
                self.told += 1

    def registries(self, listener: Listener) -> Sequence[Frame]:
        """Return where the registries stand that somebody named: what changed while away is seen by comparing."""
        if not any(topic.partition(".")[0] == rules.REGISTRY for topic in listener.topics):
            return ()
        return [
            registry_frame(name, revision)
            for name, revision in sorted(self._revisions().items())
            if listener.hears(f"{rules.REGISTRY}.{name}", {})
        ]

    def recheck(self) -> None:
        """Ask again who everybody is."""
        for listener in tuple(self.listeners):
            listener.recheck()

    def close(self) -> None:
        """Let everybody go and take nobody more."""
        self._closed = True
        for listener in tuple(self.listeners):
            listener.end("shutdown")


def frame_of(event: Event, resume: int) -> Frame:
    """Return an event as it is sent."""
    return Frame("event", resume, msgspec.json.encode(event), event.id, event.subject)


def hint_frame(topic: str) -> Frame:
    """Return what is told where there is more to see."""
    document: dict[str, Any] = {
        "id": None,
        "uid": new_id(),
        "subject": topic,
        "type": f"{topic}.more",
        "data": {},
        "correlation_id": None,
        "at": datetime.now(UTC),
    }
    return Frame("event", None, msgspec.json.encode(document), None, topic)


def registry_frame(registry: str, revision: int) -> Frame:
    """Return what is told of a registry."""
    subject = f"{rules.REGISTRY}.{registry}"
    document = {
        "id": None,
        "uid": f"{registry}:{revision}",
        "subject": subject,
        "type": "registry.changed",
        "data": {"registry": registry, "revision": revision},
        "correlation_id": None,
        "at": datetime.now(UTC),
    }
    return Frame("event", None, msgspec.json.encode(document), None, subject)
