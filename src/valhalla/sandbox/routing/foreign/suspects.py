"""What a router that died long ago had sent: stored or not, when ids are not remembered any more.

The stream of lanes knows an id for two minutes. After that the newest event of a key and type says it: the events of
one key are stored in the order of the source's stream.
"""

from __future__ import annotations

import base64
from typing import Final

from valhalla.kernel.problems import Unavailable
from valhalla.sandbox.routing import subjects
from valhalla.sandbox.routing.contracts import STREAM
from valhalla.sandbox.routing.envelope import MIRROR, read_block
from valhalla.sandbox.routing.errors import EventInvalid
from valhalla.sandbox.routing.foreign.hop_stream import Position
from valhalla.sandbox.routing.foreign.patterns import Reader
from valhalla.sandbox.routing.frames import ApiError
from valhalla.sandbox.routing.lanes import next_message
from valhalla.sandbox.routing.link import Link

_NONE: Final = frozenset({10037})


async def already_stored(
    link: Link,
    control: Link,
    stream: str,
    wanted: str,
    position: Position,
    reader: Reader,
    source: str,
    generation: str,
) -> set[int]:
    """Return the sequences behind ``position.stored`` up to ``position.sent`` that are on some lane.

    Raises:
        Unavailable: JetStream does not answer.
    """
    found: set[int] = set()
    newest: dict[str, int] = {}
    sequence = position.stored + 1
    while (message := await next_message(link, stream, sequence, wanted)) is not None and message[1] <= position.sent:
        subject, at, _, _ = message
        sequence = at + 1
        try:
            read = reader.read(subject)
            tail = f"{subjects.address(source, read.key)}.{subjects.type_token(read.type)}"
        except EventInvalid:
            continue
        if tail not in newest:
            newest[tail] = max([await _newest(control, f"{lane}.{tail}", generation) for lane in _LANES])
        if at <= newest[tail]:
            found.add(at)
    return found


_LANES: Final = (subjects.PRODUCTION, f"{subjects.SANDBOXES}.*")


async def _newest(control: Link, subject: str, generation: str) -> int:
    """Return of which sequence the newest event under a subject is, 0 if it is of another stream or there is none."""
    try:
        answer = await control.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
    except ApiError as error:
        if error.code in _NONE:
            return 0
        raise Unavailable("nats", f"the lanes cannot be read: {error}") from error
    headers = read_block(base64.b64decode(answer["message"].get("hdrs", "")))
    if MIRROR in headers:
        # a copy; whether the event itself was stored it does not say
        return 0
    made, cross, number = headers.get("ce-id", "").partition("x")
    return int(number) if cross and made == generation and number.isdigit() else 0
