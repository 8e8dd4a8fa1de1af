"""The ledger lines of this process: appended as tuples, drained in batches into a bounded ring and a JSON sink."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import msgspec

from valhalla.guard.contracts import Line
from valhalla.kit import redact

BATCH: Final = 256
RING: Final = 10_000

# event, begun, at, name, id, state, principal, key, fingerprint, generation, reason
Entry = tuple[str, float | None, float, str, str, str, str, "str | None", bytes, int, "str | None"]
Sink = Callable[[bytes], object]


class Journal:
    """Collects lines. ``pending`` is public for the hot path: append, and ``drain`` when it holds ``BATCH``."""

    def __init__(self, sink: Sink | None = None, *, ring: int = RING, offset: float = 0.0) -> None:
        """``sink`` takes bytes of whole JSON lines; ``ring`` is how many lines stay readable in the process."""
        self.pending: list[Entry] = []
        self.sink = sink
        self.offset = offset
        self.sink_failures = 0
        self._ring: deque[Entry] = deque(maxlen=ring)
        self._drained = 0
        self._lock = threading.RLock()

    def append(self, entry: Entry) -> None:
        """Add one line."""
        self.pending.append(entry)
        if len(self.pending) >= BATCH:
            self.drain()

    def drain(self) -> None:
        """Move what is pending into the ring and the sink."""
        with self._lock:
            batch = self.pending[:]
            # appends of other threads go behind what was copied
            del self.pending[: len(batch)]
            first = self._drained
            self._drained += len(batch)
            self._ring.extend(batch)
            if self.sink is not None and batch:
                try:
                    self.sink(self._encode(batch, first))
                except Exception:  # noqa: BLE001 - the effect has happened: a full disk must not turn it into a failure
                    self.sink_failures += 1

    def lines(self, after: int | None = None, limit: int = 100) -> tuple[Line, ...]:
        """Return the lines behind ``after`` that are still in the ring, oldest first."""
        self.drain()
        with self._lock:
            first = self._drained - len(self._ring)
            start = max(0, 0 if after is None else after + 1 - first)
            return tuple(
                self._line(entry, first + start + index)
                for index, entry in enumerate(islice(self._ring, start, start + limit))
            )

    def _line(self, entry: Entry, seq: int) -> Line:
        event, begun, at, name, id_, state, principal, key, fingerprint, generation, reason = entry
        return Line(
            seq=seq,
            at=at + self.offset,
            event=event,
            name=name,
            id=id_,
            state=state,
            principal=principal,
            key=None if key is None else redact.text(key),
            fingerprint=fingerprint,
            generation=generation,
            begun_at=None if begun is None else begun + self.offset,
            reason=None if reason is None else redact.text(reason),
        )

    def _encode(self, batch: list[Entry], first: int) -> bytes:
        offset, suspect = self.offset, suspicious(batch)
        return _ENCODER.encode_lines(
            [
                _Json(
                    seq,
                    at + offset,
                    event,
                    name,
                    id_,
                    state,
                    _clean(principal) if suspect else principal,
                    _clean(key) if suspect else key,
                    fingerprint.hex(),
                    generation,
                    None if begun is None else begun + offset,
                    _clean(reason) if suspect else reason,
                )
                for seq, (
                    event,
                    begun,
                    at,
                    name,
                    id_,
                    state,
                    principal,
                    key,
                    fingerprint,
                    generation,
                    reason,
                ) in enumerate(batch, first)
            ]
        )


class _Json(msgspec.Struct, gc=False):
    """A line as it is written."""

    seq: int
    at: float
    event: str
    action: str
    id: str
    state: str
    by: str | None
    key: str | None
    fingerprint: str
    generation: int
    begun: float | None
    reason: str | None


_ENCODER: Final = msgspec.json.Encoder()


def _clean(value: str | None) -> str | None:
    return None if value is None else redact.text(value)


def suspicious(batch: list[Entry]) -> bool:
    """Say whether a free text of any line could hold a secret; one search for the whole batch."""
    texts = [entry[7] for entry in batch if entry[7] is not None]
    texts += [entry[10] for entry in batch if entry[10] is not None]
    texts += {entry[6] for entry in batch}
    return redact.may_change("\n".join(texts))
