"""What decoy paths answer: enough to look real to who scans, nothing of worth, and quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from valhalla.features.security.honeypots.contracts import Face

Answer = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]

_ENV: Final = b"""APP_ENV=production
APP_DEBUG=false
DB_CONNECTION=pgsql
DB_HOST=10.20.0.14
DB_DATABASE=app
DB_USERNAME=app
DB_PASSWORD=changeme-in-vault
CACHE_DRIVER=redis
MAIL_HOST=smtp.internal
"""
_LOGIN: Final = b"""<!DOCTYPE html>
<html><head><title>Log In</title></head><body>
<form method="post"><label>Username <input name="log"></label>
<label>Password <input type="password" name="pwd"></label>
<button>Log In</button></form></body></html>
"""


def _answer(status: int, kind: bytes, body: bytes) -> Answer:
    return status, ((b"content-type", kind), (b"content-length", str(len(body)).encode())), body


ANSWERS: Final[Mapping[Face, Answer]] = {
    "env": _answer(200, b"text/plain; charset=utf-8", _ENV),
    "login": _answer(200, b"text/html; charset=utf-8", _LOGIN),
    "json": _answer(200, b"application/json", b'{"status":"ok"}'),
    "forbidden": _answer(403, b"text/plain", b"Forbidden\n"),
    "none": _answer(404, b"text/plain", b"Not Found\n"),
}
