"""The figures that Prometheus gets add up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from docarray import DocList
from PIL import Image
from prometheus_client import CollectorRegistry

from colpali_serve.engine.observing import Observer
from colpali_serve.executors.encoder import ColPaliEncoder
from colpali_serve.executors.metrics import PrometheusObserver, observer
from colpali_serve.schemas import PageDoc
from tests.engine.batches import device, prepared
from tests.engine.inputs import page_inputs
from tests.executors.posting import pages, queries


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def encoder(
    checkpoint: Callable[[str], Path], registry: CollectorRegistry
) -> Iterator[ColPaliEncoder]:
    """As a Flow with `monitoring: true` makes one."""
    given = {"model": str(checkpoint("colqwen2")), "device": "cpu", "batch_patches": 10_000}
    more = {"runtime_args": {"metrics_registry": registry}, "workers": 1, "host_threads": 1}
    with closing(ColPaliEncoder(**given, **more)) as running:
        yield running


def test_nobody_watches_where_monitoring_is_off() -> None:
    for arguments in (None, SimpleNamespace(), SimpleNamespace(metrics_registry=None)):
        assert type(observer(arguments)) is Observer


def test_figures_add_up(
    encoder: ColPaliEncoder, registry: CollectorRegistry, images: list[Image.Image]
) -> None:
    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"colpali_{name}", labels) or 0.0

    docs = DocList[PageDoc]([*pages(images * 3), PageDoc(id="bad", image=b"x")])
    found = asyncio.run(encoder.embed_images(docs, parameters={"on_error": "keep"}))
    asked = asyncio.run(encoder.embed_queries(queries("red", "how much is it?"), parameters={}))

    assert value("admitted_items_total") == 12
    assert value("failed_items_total") == 1
    assert value("refused_items_total") == value("cancelled_items_total") == 0
    assert value("halved_batches_total") == value("out_of_memory_total") == 0
    assert value("queue_items") == value("queue_bytes") == value("queue_oldest_seconds") == 0
    vectors = {
        "page": sum(len(page.embedding) for page in found if page.error is None),
        "query": sum(len(query.embedding) for query in asked),
    }
    for kind, items in (("page", 9), ("query", 2)):
        assert value("batch_items_sum", kind=kind) == items
        assert 1 <= value("batch_items_count", kind=kind) <= items
        assert value("patches_total", kind=kind) == vectors[kind]
        padded = value("padded_patches_total", kind=kind)
        assert padded == value("batch_patches_sum", kind=kind) >= vectors[kind]
        assert value("device_busy_seconds_total", kind=kind) > 0
    batches = sum(value("batch_items_count", kind=kind) for kind in vectors)
    stages = {"decode": 10, "preprocess": 11, "wait": 11, "forward": batches, "pool": 0}
    assert {stage: value("stage_seconds_count", stage=stage) for stage in stages} == stages
    busy = sum(value("device_busy_seconds_total", kind=kind) for kind in vectors)
    assert math.isclose(busy, value("stage_seconds_sum", stage="forward"))


def test_each_event_has_its_figure(registry: CollectorRegistry) -> None:
    watching = observer(SimpleNamespace(metrics_registry=registry))
    assert isinstance(watching, PrometheusObserver)
    watching.admitted(5)
    watching.refused(3)
    watching.cancelled(2)
    watching.failed()
    watching.queued(4, 50, 0.5)
    watching.batch("page", 2, 30, 40, 0.25)
    watching.out_of_memory(77)
    watching.halved()
    watching.took("pool", 2)
    found = {
        (sample.name.removeprefix("colpali_"), *sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
    assert found == {
        ("admitted_items_total",): 5,
        ("refused_items_total",): 3,
        ("cancelled_items_total",): 2,
        ("failed_items_total",): 1,
        ("queue_items",): 4,
        ("queue_bytes",): 50,
        ("queue_oldest_seconds",): 0.5,
        ("batch_items_count", "page"): 1,
        ("batch_items_sum", "page"): 2,
        ("batch_patches_count", "page"): 1,
        ("batch_patches_sum", "page"): 40,
        ("patches_total", "page"): 30,
        ("padded_patches_total", "page"): 40,
        ("device_busy_seconds_total", "page"): 0.25,
        ("stage_seconds_count", "forward"): 1,
        ("stage_seconds_sum", "forward"): 0.25,
        ("stage_seconds_count", "pool"): 1,
        ("stage_seconds_sum", "pool"): 2,
        ("out_of_memory_total",): 1,
        ("patch_budget",): 77,
        ("halved_batches_total",): 1,
    }


def test_padding_is_counted(encoder: ColPaliEncoder) -> None:
    loaded, registry = encoder._encoder.loaded, CollectorRegistry()
    sizes = [(300, 300), (300, 340), (300, 300)]
    items = prepared(loaded, page_inputs([Image.effect_noise(size, 80) for size in sizes]))
    found = device(loaded, PrometheusObserver(registry)).run(items, ["float16"] * 3)
    lengths = [len(embedding) for embedding in found]
    assert len(set(lengths)) == 2

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"colpali_{name}", {"kind": "page"})

    assert value("patches_total") == sum(lengths)
    assert value("padded_patches_total") == value("batch_patches_sum") == 3 * max(lengths)
