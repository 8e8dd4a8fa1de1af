"""The row that ``begin`` has just made: it holds what was asked, so a store need not send it back."""

from __future__ import annotations

from valhalla.guard.contracts import BeginRequest, Record, Verdict


def made(request: BeginRequest, id_: str, generation: int, now: float) -> Record:
    """Return the row of a claim or hold that was made at ``now``."""
    hold = request.hold if request.verdict is Verdict.HOLD else None
    return Record(
        id=id_,
        name=request.name,
        effect=request.effect,
        state="executing" if hold is None else "held",
        key=request.key,
        fingerprint=request.fingerprint,
        generation=generation,
        version=1,
        principal=request.principal,
        created_at=now,
        updated_at=now,
        lease_until=now + request.lease if hold is None else None,
        expires_at=None if hold is None else now + hold.expires_in,
        keep=request.keep,
        reason=request.reason,
        policy=request.policy,
        quorum=() if hold is None else hold.quorum,
        payload=None if hold is None else hold.payload,
        summary=None if hold is None else hold.summary,
        parent=request.parent,
        correlation=request.correlation,
        attempt=None if id_ == request.id else request.id,
    )
