"""Dead letters: what a lane's consumer gave up, copied with its reason before the stream forgets it.

JetStream says of each in an advisory, and a stream keeps the advisories: none is missed while no control plane runs.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from valhalla.kernel.problems import Unavailable
from valhalla.kit.log import get_logger
from valhalla.kit.waiting import first_of
from valhalla.sandbox.routing import envelope, subjects
from valhalla.sandbox.routing.claims import Claims
from valhalla.sandbox.routing.contracts import ADVISORIES_STREAM, STREAM
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import next_message
from valhalla.sandbox.routing.link import Link

_log = get_logger("sandbox.routing.dead")
_REASON: Final = 300


class Undertaker:
    """Copies what was given up; several processes may run one each, for a copy has the id of what it copies."""

    def __init__(self, claims: Claims, *, interval: float = 2.0) -> None:
        self._claims = claims
        self._interval = interval
        self.buried = 0
        self.tell: Callable[[str, int, str], Awaitable[None]] | None = None
        """Called with a sandbox, how many of its events were given up, and the last one's reason."""
        self.beat: Callable[[], None] = lambda: None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.once()
            except (Unavailable, ApiError) as problem:
                _log.warning("dead letters wait for nats", error=str(problem))
            except Exception:  # noqa: BLE001 - a loop that dies would leave dead letters where nobody sees them
                _log.exception("dead letters could not be copied and will be again")
            self.beat()
            await first_of(stop, seconds=self._interval)

    async def once(self) -> int:
        """Copy everything that was given up and return how many there were.

        Raises:
            Unavailable, ApiError: NATS does not take them; the next time goes on.
        """
        link, _ = await self._claims.connected()
        done, letters = 0, dict[str, tuple[int, str]]()
        while (sign := await next_message(link, ADVISORIES_STREAM, 1, "$JS.EVENT.ADVISORY.CONSUMER.>")) is not None:
            _, number, _, body = sign
            if (buried := await self._bury(link, body)) is not None:
                done += 1
                sandbox, reason = buried
                letters[sandbox] = letters.get(sandbox, (0, ""))[0] + 1, reason
            await link.api(f"STREAM.MSG.DELETE.{ADVISORIES_STREAM}", {"seq": number, "no_erase": True})
        self.buried += done
        for sandbox, (count, reason) in letters.items():
            if self.tell is not None:
                await self.tell(sandbox, count, reason)
        return done

    async def _bury(self, link: Link, body: bytes) -> tuple[str, str] | None:
        """Copy what an advisory is about; returns whose it was and why, None if there is nothing to copy."""
        try:
            advisory = cast("dict[str, Any]", json.loads(body))
            sequence, consumer = int(advisory["stream_seq"]), str(advisory["consumer"])
            answer = await link.api(f"STREAM.MSG.GET.{STREAM}", {"seq": sequence})
        except (ValueError, KeyError, ApiError):
            # what is gone already can be buried no more
            return None
        message = answer["message"]
        headers = envelope.read_block(base64.b64decode(message.get("hdrs", "")))
        headers.pop("nats-msg-id", None)
        told = str(advisory.get("reason") or f"not acknowledged in {advisory.get('deliveries', '?')} deliveries")
        reason = "".join(sign if sign.isprintable() and sign.isascii() else "?" for sign in told)[:_REASON]
        headers |= {
            envelope.MSG_ID: f"{STREAM}-{sequence}-{consumer}",
            envelope.REASON: reason or "no reason",
            envelope.SEQUENCE: str(sequence),
        }
        target = subjects.DEAD + str(message["subject"]).removeprefix(subjects.LANES)
        await link.store(target, base64.b64decode(message.get("data", "")), headers=headers)
        _log.warning("an event was given up", subject=target, reason=reason)
        # ev.s.{sandbox}.…, or production's
        tokens = str(message["subject"]).split(".")
        return tokens[2] if tokens[1] == "s" else "", reason
