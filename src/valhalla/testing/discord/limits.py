"""Rate limits as Discord's REST tells of them: buckets in headers, 429 with Retry-After."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from valhalla.testing.discord.documents import Doc


@dataclass(slots=True)
class Bucket:
    """``count`` requests in ``seconds``, from the first one on."""

    count: int
    seconds: float
    used: int = 0
    until: float = 0.0

    def take(self, now: float) -> bool:
        """Count one request; False if there are too many."""
        if now >= self.until:
            self.used, self.until = 0, now + self.seconds
        self.used += 1
        return self.used <= self.count


@dataclass(slots=True)
class Refusal:
    """The next ``times`` requests that fit get this answer and have no effect."""

    status: int
    body: Doc
    headers: dict[str, str]
    times: int
    method: str | None = None
    path: str | None = None

    def fits(self, method: str, path: str) -> bool:
        """Say whether it is for this request."""
        return self.times > 0 and self.method in (None, method) and (self.path is None or self.path in path)


@dataclass(slots=True)
class Limits:
    """The limits of each route and major parameter; generous unless ``rules`` says otherwise."""

    rules: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict[tuple[str, str], tuple[int, float]])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    refused: int = 0
    """How many requests were answered 429."""
    _buckets: dict[tuple[str, str, str], Bucket] = field(default_factory=dict[tuple[str, str, str], Bucket])

    def refusal(self, method: str, path: str) -> Refusal | None:
        """Return the answer that was planned for this request, and use it up."""
        for each in self.refusals:
            if each.fits(method, path):
                each.times -= 1
                self.refused += each.status == 429
                return each
        return None

    def take(self, method: str, template: str, major: str) -> tuple[dict[str, str], float | None]:
        """Count a request; returns the headers, and for how many seconds it is refused (None: it is not)."""
        count, seconds = self.rules.get((method, template), (10_000, 1.0))
        bucket = self._buckets.setdefault((method, template, major), Bucket(count, seconds))
        bucket.count, bucket.seconds = count, seconds
        now = time.time()
        fine = bucket.take(now)
        after = max(bucket.until - now, 0.001)
        headers = {
            "x-ratelimit-limit": str(count),
            "x-ratelimit-remaining": str(max(count - bucket.used, 0)),
            "x-ratelimit-reset": f"{bucket.until:.3f}",
            "x-ratelimit-reset-after": f"{after:.3f}",
            "x-ratelimit-bucket": hashlib.blake2b(f"{method} {template}".encode(), digest_size=16).hexdigest(),
        }
        if fine:
            return headers, None
        self.refused += 1
        return {**headers, **too_many(after, "user")}, after


def too_many(after: float, scope: str) -> dict[str, str]:
    """Return the headers of a 429; clients believe it is Discord's own only with ``Via``."""
    headers = {"retry-after": str(max(1, round(after + 0.5))), "x-ratelimit-scope": scope, "via": "1.1 fake"}
    return headers | ({"x-ratelimit-global": "true"} if scope == "global" else {})
