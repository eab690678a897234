"""What an observer is told adds up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput
from colpali_serve.engine.observing import Observer
from tests.engine.inputs import page_inputs, text_inputs
from tests.engine.noting import Noted


def test_an_observer_by_default_takes_note_of_nothing() -> None:
    observer = Observer()
    for call in (observer.admitted, observer.refused, observer.cancelled):
        call(3)
    observer.failed()
    observer.halved()
    observer.queued(1, 2, 3.0)
    observer.batch("page", 1, 2, 3, 4.0)
    observer.out_of_memory(5)
    observer.took("wait", 0.1)


def test_a_stage_is_measured_also_when_it_fails() -> None:
    noted = Noted()
    with noted.stage("decode"):
        pass
    with pytest.raises(ValueError, match="bad"), noted.stage("decode"):
        raise ValueError("bad")
    assert noted.stages == {"decode": 2}


def test_what_an_encoder_tells_adds_up(
    start: Callable[..., Encoder], images: list[Image.Image]
) -> None:
    noted = Noted()
    running = start("colqwen2", observer=noted)
    pages = running.embed_images([*page_inputs(images * 2), ImageInput("bad", b"x")])
    queries = running.embed_texts(text_inputs(["red", "what is the total revenue?", " "]))
    pooled = running.embed_images(page_inputs(images), pool_factor=2)
    assert noted.counts == {
        "admitted": 13, "refused": 0, "cancelled": 0, "failed": 2, "halved": 0,
    }  # fmt: skip
    assert noted.queue[:2] == (0, 0)
    lengths = {"page": 0, "query": 0}
    for kind, results in (("page", pages * 1), ("query", queries)):
        lengths[kind] += sum(len(one.embedding) for one in results if isinstance(one, Encoded))
    # Each of three pages twice as it is and once pooled, which happens behind the device.
    lengths["page"] += lengths["page"] // 2
    assert all(isinstance(one, Encoded) for one in pooled)
    for kind, items in (("page", 9), ("query", 2)):
        told = [batch for batch in noted.batches if batch[0] == kind]
        assert sum(batch[1] for batch in told) == items
        assert sum(batch[2] for batch in told) == lengths[kind]
        assert all(padded >= patches for _, _, patches, padded in told)
    assert noted.stages == {"decode": 10, "preprocess": 11, "wait": 11, "pool": 3}
