"""The encoder's figures for Prometheus, beside Jina's own where the Flow has `monitoring: true`."""

from __future__ import annotations

from typing import Any

from colpali_serve.engine.observing import Observer

_STAGE_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_BATCH_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
_BATCH_PATCHES = (64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def observer(runtime_args: Any) -> Observer:
    """Return what takes the encoder's figures.

    Args:
        runtime_args: An Executor's; they hold a registry where monitoring is on.

    Returns:
        A `PrometheusObserver`, or one that takes note of nothing.
    """
    registry = getattr(runtime_args, "metrics_registry", None)
    return Observer() if registry is None else PrometheusObserver(registry)


class PrometheusObserver(Observer):
    """Keeps the figures in a registry.

    Rates say the rest: `rate(colpali_device_busy_seconds_total[1m])` is the share of time that the
    device works, `rate(colpali_batch_items_total{kind="page"}[1m])` pages a second, and
    `1 - rate(colpali_patches_total) / rate(colpali_padded_patches_total)` the share of padding.

    Args:
        registry: A `prometheus_client.CollectorRegistry`.
    """

    def __init__(self, registry: Any) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def counter(name: str, text: str, *labels: str) -> Any:
            return Counter(f"colpali_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Any:
            return Gauge(f"colpali_{name}", text, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], label: str) -> Any:
            return Histogram(f"colpali_{name}", text, [label], registry=registry, buckets=buckets)

        self._admitted = counter("admitted_items", "Items taken into the queue.")
        self._refused = counter("refused_items", "Items turned away, the queue being full.")
        self._cancelled = counter("cancelled_items", "Items dropped, their caller being gone.")
        self._failed = counter("failed_items", "Items that ended in an error.")
        self._items = gauge("queue_items", "Items that wait.")
        self._bytes = gauge("queue_bytes", "Bytes of the images and texts that wait.")
        self._oldest = gauge("queue_oldest_seconds", "Age of the item that waits longest.")
        self._batch_items = histogram("batch_items", "Items of a forward.", _BATCH_ITEMS, "kind")
        self._batch_patches = histogram(
            "batch_patches", "Patches of a forward, padding included.", _BATCH_PATCHES, "kind"
        )
        self._real = counter("patches", "Patches embedded, without padding.", "kind")
        self._padded = counter("padded_patches", "Patches embedded, with padding.", "kind")
        self._busy = counter("device_busy_seconds", "Seconds of forwards.", "kind")
        self._stage = histogram("stage_seconds", "Seconds of a stage.", _STAGE_SECONDS, "stage")
        self._memory = counter("out_of_memory", "Batches that the device had no memory for.")
        self._budget = gauge("patch_budget", "Patches of a forward since memory ran out.")
        self._halved = counter("halved_batches", "Batches that failed and were tried in halves.")

    def admitted(self, items: int) -> None:
        """Count items taken in."""
        self._admitted.inc(items)

    def refused(self, items: int) -> None:
        """Count items turned away."""
        self._refused.inc(items)

    def cancelled(self, items: int) -> None:
        """Count items dropped."""
        self._cancelled.inc(items)

    def failed(self) -> None:
        """Count an item that failed."""
        self._failed.inc()

    def queued(self, items: int, size_bytes: int, oldest_s: float) -> None:
        """Keep the queue as it is now."""
        self._items.set(items)
        self._bytes.set(size_bytes)
        self._oldest.set(oldest_s)

    def batch(self, kind: str, items: int, patches: int, padded: int, seconds: float) -> None:
        """Count a forward."""
        self._batch_items.labels(kind).observe(items)
        self._batch_patches.labels(kind).observe(padded)
        self._real.labels(kind).inc(patches)
        self._padded.labels(kind).inc(padded)
        self._busy.labels(kind).inc(seconds)
        self.took("forward", seconds)

    def out_of_memory(self, budget: int) -> None:
        """Count a batch that did not fit, keep the new budget."""
        self._memory.inc()
        self._budget.set(budget)

    def halved(self) -> None:
        """Count a batch tried in halves."""
        self._halved.inc()

    def took(self, stage: str, seconds: float) -> None:
        """Count a stage's seconds."""
        self._stage.labels(stage).observe(seconds)
