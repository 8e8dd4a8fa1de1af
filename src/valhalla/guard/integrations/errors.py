"""What can be wrong with a request before the guard is asked."""

from __future__ import annotations

from valhalla.kernel.problems import Invalid


class KeyMissing(Invalid):
    """The route demands an ``Idempotency-Key`` and none was sent."""

    code = "idempotency-key-missing"
    status = 400
    title = "This request needs an Idempotency-Key"
    help = "Send 'Idempotency-Key' with a value of its own for each intended effect; repeat it to retry."
