"""Kept spans on their way to a collector of OpenTelemetry: in batches, after they were stored, never waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from valhalla.features.observability.tracing import otlp, protobuf
from valhalla.kernel.problems import Misconfigured, Unavailable
from valhalla.kit.batches import Batches
from valhalla.kit.json import dumps

if TYPE_CHECKING:
    import httpx

_LATER: Final = frozenset({408, 429, 502, 503, 504})


class Exporter:
    """Sends spans as OTLP/HTTP; what a collector refuses three times is dropped and counted."""

    def __init__(self, endpoint: str, *, headers: str | None = None, as_protobuf: bool = True) -> None:
        """``endpoint`` without the path; ``headers`` as ``name=value``, separated by commas.

        Raises:
            Misconfigured: the headers have not that form.
        """
        base = endpoint.rstrip("/")
        self._url = base if base.endswith("/v1/traces") else f"{base}/v1/traces"
        self._headers = dict(_header(part) for part in (headers or "").split(",") if part.strip())
        self._as_protobuf = as_protobuf
        self._client: httpx.AsyncClient | None = None
        self.batches: Batches[Mapping[str, Any]] = Batches("spans for the collector", self._send, batch=500, pause=1.0)

    async def _send(self, rows: list[Mapping[str, Any]]) -> None:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10, headers=self._headers)
        if self._as_protobuf:
            kind, content = "application/x-protobuf", protobuf.written(rows)
        else:
            kind, content = "application/json", dumps(otlp.written(rows))
        try:
            answer = await self._client.post(self._url, content=content, headers={"content-type": kind})
        except httpx.TransportError as error:
            raise Unavailable("otlp", "the collector cannot be reached") from error
        if answer.status_code in _LATER:
            raise Unavailable("otlp", f"the collector answers {answer.status_code}")
        if answer.status_code >= 300:
            raise _RefusedError(f"the collector answers {answer.status_code}")

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


class _RefusedError(Exception):
    """The collector will never take it."""


def _header(part: str) -> tuple[str, str]:
    name, equals, value = part.strip().partition("=")
    if not equals or not name.strip() or not value.isprintable():
        raise Misconfigured("otlp_headers: write name=value, separated by commas", setting="otlp_headers")
    return name.strip(), value.strip()
