"""The gateway's own figures for Prometheus, of both doors."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counts requests by door, route and status.

    Routes are those that exist, never what a caller typed: labels must not grow with guesses.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "colpali_gateway_requests",
            "Requests answered; status is HTTP's, or on gRPC `ok` or the class of the error.",
            ["door", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "colpali_gateway_seconds",
            "Seconds from a request's arrival to its answer's last byte (on gRPC, to its answer).",
            ["door", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._running = Gauge(
            "colpali_gateway_in_flight",
            "Requests under way.",
            ["door"],
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def began(self, door: str) -> None:
        """Count a request that has arrived."""
        self._running.labels(door).inc()

    def ended(self, door: str, route: str, status: str, seconds: float) -> None:
        """Count a request that was answered, or whose caller left."""
        self._running.labels(door).dec()
        self._requests.labels(door, route, status).inc()
        self._seconds.labels(door, route).observe(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
