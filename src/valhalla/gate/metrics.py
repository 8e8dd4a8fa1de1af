"""Request counts and latencies per route, kept in plain arrays and exported when scraped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from valhalla.kit.histogram import BOUNDS

# finer than what is exported, for quantiles of one route; holds each of BOUNDS
_FINE: Final = (
    *(0.00005, 0.0001, 0.0002, 0.00035, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.0025, 0.0035, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0),
)
_COARSE: Final = (0.005, 0.025, 0.1, 0.5, 2.5)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "WEBSOCKET"})
_MOST: Final = 2000


class RouteTimes(NamedTuple):
    """What one route has done since the process began; quantiles in seconds, ``None`` before the first answer."""

    method: str
    route: str
    requests: int
    errors: int
    """Answers with a status of 500 or more."""
    p50: float | None
    p99: float | None


class _Series:
    __slots__ = ("bins", "statuses", "sum")

    def __init__(self) -> None:
        self.bins = [0] * (len(_FINE) + 1)
        self.statuses = [0] * 6
        self.sum = 0.0

    def quantile(self, share: float) -> float | None:
        rank = share * sum(self.bins)
        below = 0
        for number, count in enumerate(self.bins):
            if count and below + count >= rank:
                low = _FINE[number - 1] if number else 0.0
                high = _FINE[min(number, len(_FINE) - 1)]
                return low + (high - low) * (rank - below) / count
            below += count
        return None

    def buckets(self, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        total, at = 0, 0
        for bound in bounds:
            end = bisect_left(_FINE, bound) + 1
            total += sum(self.bins[at:end])
            at = end
            found.append((str(bound), total))
        return [*found, ("+Inf", total + sum(self.bins[at:]))]


class _Streams:
    __slots__ = ("count", "open", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.open = 0
        self.seconds = 0.0


class HttpMetrics(Collector):
    """Counts by method, route and status class: a bounded number of series, whatever clients send."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._streams: dict[tuple[str, str], _Streams] = {}

    def opened(self, method: str, route: str) -> None:
        """Count a stream or WebSocket that begins."""
        self._streamed(method, route).open += 1

    def closed(self, method: str, route: str, seconds: float) -> None:
        """Count one that has ended, ``seconds`` after it was asked for."""
        streams = self._streamed(method, route)
        streams.open -= 1
        streams.count += 1
        streams.seconds += seconds

    def _streamed(self, method: str, route: str) -> _Streams:
        key = (method if method in _METHODS else "other", route)
        if key not in self._streams and len(self._streams) >= _MOST:
            key = (key[0], "other")
        return self._streams.setdefault(key, _Streams())

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one finished request; ``route`` is a template, or empty for a path that no route has.

        ``seconds`` are those to the answer: of a stream to its beginning, without what the caller asked to wait for.
        """
        series = self._series.get((method, route)) or self._new(method, route)
        series.bins[bisect_left(_FINE, seconds)] += 1
        series.sum += seconds
        series.statuses[status // 100 if 100 <= status < 600 else 0] += 1

    def _new(self, method: str, route: str) -> _Series:
        key = (method if method in _METHODS else "other", route)
        if len(self._series) >= _MOST:
            # an application with routes without end, which are no templates then
            key = (key[0], "other")
        return self._series.setdefault(key, _Series())

    def routes(self) -> Iterator[RouteTimes]:
        """Yield every route that was asked, in no order."""
        for (method, route), series in list(self._series.items()):
            yield RouteTimes(
                method, route, sum(series.bins), series.statuses[5], series.quantile(0.5), series.quantile(0.99)
            )

    def collect(self) -> Iterator[Metric]:
        """Render for Prometheus."""
        requests = CounterMetricFamily("valhalla_http_requests", "Finished requests", labels=("method", "status"))
        by_route = CounterMetricFamily(
            "valhalla_http_route_requests", "Finished requests by route", labels=("method", "route", "status")
        )
        seconds = HistogramMetricFamily("valhalla_http_route_seconds", "Time by route", labels=("method", "route"))
        every = _Series()
        counts: dict[tuple[str, str], int] = {}
        for (method, route), series in sorted(self._series.items()):
            every.bins = [one + other for one, other in zip(every.bins, series.bins, strict=True)]
            every.sum += series.sum
            for number, count in enumerate(series.statuses):
                if count:
                    status = f"{number}xx" if number else "none"
                    counts[method, status] = counts.get((method, status), 0) + count
                    by_route.add_metric((method, route, status), count)
            seconds.add_metric((method, route), series.buckets(_COARSE), series.sum)
        for (method, status), count in sorted(counts.items()):
            requests.add_metric((method, status), count)
        yield requests
        yield HistogramMetricFamily(
            "valhalla_http_request_seconds", "Time to answer", buckets=every.buckets(BOUNDS), sum_value=every.sum
        )
        yield by_route
        yield seconds
        yield from self._collect_streams()

    def _collect_streams(self) -> Iterator[Metric]:
        labels = ("method", "route")
        now = GaugeMetricFamily("valhalla_http_streams_open", "Streams and WebSockets that are open", labels=labels)
        ended = CounterMetricFamily("valhalla_http_streams", "Streams and WebSockets that have ended", labels=labels)
        lasted = CounterMetricFamily("valhalla_http_stream_seconds", "How long those were open", labels=labels)
        for key, streams in sorted(self._streams.items()):
            now.add_metric(key, streams.open)
            ended.add_metric(key, streams.count)
            lasted.add_metric(key, streams.seconds)
        yield now
        yield ended
        yield lasted
