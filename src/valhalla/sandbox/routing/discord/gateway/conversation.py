"""What one connection hears and must say, from HELLO on: the protocol without its socket and clock. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from pydantic import SecretStr

from valhalla.sandbox.routing.discord.gateway import frames
from valhalla.sandbox.routing.discord.gateway.closing import Ending
from valhalla.sandbox.routing.discord.gateway.frames import Frame

State = Literal["hello", "identifying", "resuming", "live"]

# what an invalid session asks for: one to five seconds, so that not all clients come back at once
_AFTER_INVALID: Final = 1.0


@dataclass(slots=True)
class Session:
    """A session that can be resumed: ``sequence`` is the last event that was taken, ``url`` where to resume."""

    id: str
    url: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who connects: ``shard`` of ``shards``. The token is secret."""

    token: SecretStr
    intents: int
    shard: int
    shards: int


class Over(Exception):  # noqa: N818 - it ends a connection, which is no error
    """This connection has to end, and how."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.why)
        self.ending = ending


class Heart:
    """When to beat, and whether the last beat was heard. Times are seconds of one clock."""

    def __init__(self, interval: float, now: float, first: float) -> None:
        """``first`` is which part of the interval passes before the first beat, drawn at random."""
        self.interval = interval
        self.due = now + interval * first
        self.latency: float | None = None
        self._unheard_since: float | None = None

    @property
    def is_heard(self) -> bool:
        """Whether every beat that was sent is acknowledged."""
        return self._unheard_since is None

    def beat(self, now: float) -> None:
        """Take note that a beat is sent."""
        self.due = now + self.interval
        if self._unheard_since is None:
            self._unheard_since = now

    def heard(self, now: float) -> None:
        """Take note that the other side has heard."""
        if self._unheard_since is not None:
            self.latency = now - self._unheard_since
            self._unheard_since = None


class Conversation:
    """One connection. ``session`` is resumed if there is one; READY sets a new one."""

    def __init__(self, identity: Identity, session: Session | None) -> None:
        self._identity = identity
        self.session = session
        self.state: State = "hello"
        self.heart: Heart | None = None

    def take(self, frame: Frame, now: float, drawn: float) -> str | None:
        """Take a frame that is no event to publish and return what to send, if anything.

        ``drawn`` is a random number of 0 to 1.

        Raises:
            Over: the connection has to end.
        """
        try:
            match frame.op:
                case frames.HELLO:
                    return self._greet(frame, now, drawn)
                case frames.HEARTBEAT:
                    return self.beat(now)
                case frames.ACKNOWLEDGED if self.heart is not None:
                    self.heart.heard(now)
                case frames.RECONNECT:
                    raise Over(Ending(resumes=True, why="the gateway asked to connect anew"))
                case frames.INVALID_SESSION:
                    resumes = bytes(frame.d).strip() == b"true"
                    why = "the gateway says that the session is invalid"
                    raise Over(Ending(resumes, why, pause=_AFTER_INVALID + 4 * drawn))
                case frames.DISPATCH if frame.t == "READY":
                    said = frames.ready(frame.d)
                    self.session = Session(said.session_id, said.resume_gateway_url, frame.s or 0)
                    self.state = "live"
                case frames.DISPATCH if frame.t == "RESUMED" and self.session is not None:
                    self.session.sequence = max(self.session.sequence, frame.s or 0)
                    self.state = "live"
                case _:
                    # operations that come later are nothing to us
                    pass
        except msgspec.DecodeError as error:
            raise Over(Ending(resumes=True, why=f"the gateway sent what it should not: {error}", pause=1.0)) from error
        return None

    def beat(self, now: float) -> str:
        """Return a heartbeat to send."""
        assert self.heart is not None
        self.heart.beat(now)
        return frames.write(frames.HEARTBEAT, self.session.sequence if self.session else None)

    def _greet(self, frame: Frame, now: float, drawn: float) -> str:
        self.heart = Heart(frames.hello(frame.d).heartbeat_interval / 1000, now, drawn)
        token, session = self._identity.token.get_secret_value(), self.session
        if session is not None:
            self.state = "resuming"
            said = {"token": token, "session_id": session.id, "seq": session.sequence}
            return frames.write(frames.RESUME, said)
        self.state = "identifying"
        identity = self._identity
        return frames.write(
            frames.IDENTIFY,
            {
                "token": token,
                "properties": {"os": sys.platform, "browser": "valhalla", "device": "valhalla"},
                "intents": identity.intents,
                "shard": [identity.shard, identity.shards],
                "large_threshold": 50,
            },
        )
