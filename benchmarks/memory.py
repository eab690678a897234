"""Whether the encoder's memory stays flat over many pages.

    python -m benchmarks.memory [--pages 10000]

Pages of many sizes and formats go through one engine, which is told to queue a few hundred at a
time; a line every thousand pages says what the process holds.
"""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.models import SERVICE_COST, folder_of
from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput
from colpali_serve.engine.settings import EncoderSettings

_OUT = Path(__file__).with_name("memory.json")
_NOTES = Console(stderr=True)
_AT_A_TIME = 100
_KINDS = ("PNG", "JPEG", "WEBP", "TIFF")


def main(
    pages: Annotated[int, typer.Option(help="In all.", min=1000)] = 10_000,
    model: Annotated[str, typer.Option(help="As in benchmarks.encode.")] = SERVICE_COST,
    out: Annotated[Path, typer.Option(help="The figures as JSON.")] = _OUT,
) -> None:
    """Embed pages and print what the process holds meanwhile."""
    figures: dict[int, float] = {}
    with folder_of(model) as folder, Encoder.load(EncoderSettings(model=folder)) as encoder:
        done = 0
        for some in track(_some(pages), "pages", pages // _AT_A_TIME, console=_NOTES):
            for result in encoder.embed_images(some):
                assert isinstance(result, Encoded), result
            done += len(some)
            if done % 1000 == 0:
                figures[done] = _resident_mb()
    print("| pages | resident MiB |\n|---:|---:|")  # noqa: T201  (a table is what it is for)
    for count, size in figures.items():
        print(f"| {count} | {size:.0f} |")  # noqa: T201
    out.write_text(json.dumps(figures, indent=1))


def _some(count: int) -> Iterator[list[ImageInput]]:
    """Pages in lists, drawn anew each time: small, as sizes matter here and not contents."""
    chance = random.Random(0)
    for start in range(0, count, _AT_A_TIME):
        yield [_page(chance, number) for number in range(start, start + _AT_A_TIME)]


def _page(chance: random.Random, number: int) -> ImageInput:
    size = (chance.randint(50, 1700), chance.randint(50, 1700))
    colour = tuple(chance.randrange(256) for _ in range(3))
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, chance.choice(_KINDS))
    return ImageInput(str(number), buffer.getvalue())


def _resident_mb() -> float:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / 1024**2


if __name__ == "__main__":
    typer.run(main)
