"""The blocking transport: httpx, one connection pool, one repetition where that is harmless."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from valhalla.sdk.errors import ApiProblem, Unreachable
from valhalla.sdk.wire import Request, interpret

_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
# long enough for a control plane that is just restarting its listener, short enough not to be noticed
_PAUSE: Final = 0.15
_LONGEST_PAUSE: Final = 5.0


class Transport:
    """Sends requests to one control plane."""

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            detail = "the API key holds characters that no key has"
            raise ApiProblem("unauthenticated", 401, detail, "Check VALHALLA_API_KEY for a stray line break.")
        self.url = url
        parts = _split(url)
        headers = {"Accept": "application/json", "User-Agent": "valhalla-sdk"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._client = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=timeout,
            # reading the certificate bundle takes 70 ms that a plain http address has no use for
            verify=parts.scheme == "https",
            # a proxy for the outside world must not see what stays on this machine
            trust_env=parts.hostname not in _LOOPBACK,
        )

    def exchange(self, request: Request[Any]) -> Any:
        """Send, and return the answer's document.

        Raises:
            ApiProblem: the control plane refused.
            Unreachable: it did not answer.
        """
        try:
            return self._once(request)
        except Unreachable as error:
            if not request.is_repeatable or isinstance(error.__cause__, httpx.TimeoutException):
                raise
            time.sleep(_PAUSE)
        except ApiProblem as problem:
            if problem.status != 503 or problem.retry_after is None or not request.is_repeatable:
                raise
            time.sleep(min(problem.retry_after, _LONGEST_PAUSE))
        return self._once(request)

    def _once(self, request: Request[Any]) -> Any:
        content = request.content()
        headers = dict(request.headers)
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._client.request(
                request.method,
                request.path,
                params=dict(request.params),
                content=content,
                headers=headers,
                timeout=httpx.USE_CLIENT_DEFAULT if request.timeout is None else request.timeout,
            )
        except httpx.TimeoutException as error:
            raise Unreachable(self.url, "no answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error
        return interpret(request, response.status_code, response.content)

    def close(self) -> None:
        """Close every connection now."""
        self._client.close()


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    else:
        if good:
            return parts
    raise Unreachable(url, "that is no http:// or https:// address", "Correct VALHALLA_URL or --url.")
