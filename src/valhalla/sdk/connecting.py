"""What the blocking and the asynchronous transport agree on: how to connect, and when to ask once more."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request

_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
# long enough for a control plane that is just restarting its listener, short enough not to be noticed
_PAUSE: Final = 0.15
_LONGEST_PAUSE: Final = 5.0
# as many threads or tasks as a program has keep their connections, not only httpx's twenty
_LIMITS: Final = httpx.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=30)


def options(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Return the arguments of ``httpx.Client`` or ``httpx.AsyncClient``.

    Raises:
        ApiProblem: the key is none.
        Unreachable: the address is none.
    """
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        detail = "the API key holds characters that no key has"
        raise ApiProblem("unauthenticated", 401, detail, "Check VALHALLA_API_KEY for a stray line break.")
    parts = _split(url)
    headers = {"Accept": "application/json", "User-Agent": "valhalla-sdk"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": timeout,
        "limits": _LIMITS,
        # reading the certificate bundle takes 70 ms that a plain http address has no use for
        "verify": parts.scheme == "https",
        # a proxy for the outside world must not see what stays on this machine
        "trust_env": parts.hostname not in _LOOPBACK,
    }


def arguments(request: Request[Any]) -> dict[str, Any]:
    """Return the arguments of the client's ``request``."""
    content = request.content()
    headers = dict(request.headers)
    if content is not None:
        headers["Content-Type"] = "text/plain" if isinstance(request.body, str) else "application/json"
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params),
        "content": content,
        "headers": headers,
        "timeout": httpx.USE_CLIENT_DEFAULT if request.timeout is None else request.timeout,
    }


def failure(url: str, error: Exception) -> Unreachable:
    """Return what an error of httpx means to a caller."""
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(url, "no answer in time")
    return Unreachable(url, str(error) or type(error).__name__)


def pause(request: Request[Any], error: Unreachable | ApiProblem) -> float | None:
    """Return after how many seconds the request may be sent once more; ``None``: never."""
    if not request.is_repeatable:
        return None
    if isinstance(error, Unreachable):
        return None if isinstance(error.__cause__, httpx.TimeoutException) else _PAUSE
    if error.status != 503 or error.retry_after is None:
        return None
    return min(error.retry_after, _LONGEST_PAUSE)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    else:
        if good:
            return parts
    raise Unreachable(url, "that is no http:// or https:// address", "Correct VALHALLA_URL or --url.")
