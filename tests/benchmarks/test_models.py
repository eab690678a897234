"""The checkpoint that costs nothing but the service's own work."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import Contender, bare_loop, in_process, own_steps
from benchmarks.models import BUNDLED, SERVICE_COST, folder_of
from benchmarks.pages import real_pages
from colpali_serve.engine.settings import EncoderSettings


def test_contenders_embed_real_pages_with_it() -> None:
    pages = real_pages(2, "jpeg")
    with folder_of(SERVICE_COST) as folder:
        settings = EncoderSettings(model=folder, device="cpu", dtype="float32", threads=1)
        for work, args in ((bare_loop, (pages,)), (in_process, ()), (own_steps, ())):
            contender = Contender(work, settings, *args)
            try:
                taken = contender.run(pages)
                if work is bare_loop:
                    assert 0.3e6 < contender.facts["parameters"] < 0.4e6
                    assert contender.facts["page_flops"] > 1e8
            finally:
                contender.stop()
            assert taken.pages == 2
            assert len(taken.page_s) == (2 if work is own_steps else 0)
            assert taken.cpu_seconds > 0
    assert not Path(folder).exists()


def test_the_bundled_one_is_named_not_copied() -> None:
    with folder_of(BUNDLED) as name:
        assert name == BUNDLED


def test_pages_are_real_images_and_come_again() -> None:
    pages = real_pages(40, "png")
    assert len(pages) == 40
    assert all(page.startswith(b"\x89PNG") for page in pages)
    assert 20 <= len(set(pages)) < 40
