"""Judges a checkpoint on real pages through the service's own encoder and MaxSim."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.maxsim import maxsim
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ColPaliError, ConfigError, Embedding
from colpali_serve.training.evaluation.bm25 import bm25
from colpali_serve.training.evaluation.manuals import (
    Page,
    load_pages,
    page_images,
    read_manuals,
)
from colpali_serve.training.evaluation.query_sets import (
    KINDS,
    QUERIES,
    Query,
    check_queries,
    read_queries,
)
from colpali_serve.training.packages import fetch, progress_bar
from colpali_serve.training.whole_files import whole

_CHUNK = 16
BM25 = "BM25"


@dataclass(frozen=True)
class PageSet:
    """Real pages with the queries over them.

    Attributes:
        pages: The pages.
        pdfs: PDF of each manual by its key.
        queries: Kind -> queries all of whose answers are among the pages.
    """

    pages: list[Page]
    pdfs: dict[str, bytes]
    queries: dict[str, list[Query]]

    @property
    def golds(self) -> dict[str, list[set[int]]]:
        """Kind -> for each query the places of the pages that answer it."""
        places = {page.id: place for place, page in enumerate(self.pages)}
        return {
            kind: [{places[gold] for gold in query.golds} for query in queries]
            for kind, queries in self.queries.items()
        }


@dataclass(frozen=True)
class System:
    """What ranks pages, and how it scored them.

    Attributes:
        name: As tables call it.
        scores: Kind -> float32 (n_queries, n_pages).
        fingerprint: Of the checkpoint; empty for BM25.
        dtype: What the checkpoint computed in; empty for BM25.
    """

    name: str
    scores: dict[str, NDArray[np.float32]]
    fingerprint: str = ""
    dtype: str = ""


def load_page_set(
    sources: Path, work: Path, most: int | None = None, queries: Path = QUERIES
) -> PageSet:
    """Fetch the manuals, choose their pages and check the queries against them.

    Args:
        sources: TOML file of packages and manuals.
        work: Folder for what is fetched and made.
        most: Take only this many pages, spread evenly, and the queries they can answer.
        queries: Folder of the queries.

    Raises:
        ConfigError: A package cannot be fetched, or pages and queries do not fit.
    """
    packages = fetch(sources, work / "packages")
    pages, pdfs = load_pages(read_manuals(sources), packages, work / "evaluation")
    asked = {kind: read_queries(kind, queries) for kind in KINDS}
    for entries in asked.values():
        check_queries(entries, pages)
    if most is not None and most < len(pages):
        pages = [pages[place * len(pages) // most] for place in range(most)]
        kept = {page.id for page in pages}
        asked = {
            kind: [query for query in entries if kept.issuperset(query.golds)]
            for kind, entries in asked.items()
        }
    return PageSet(pages, pdfs, asked)


def score_by_words(page_set: PageSet) -> System:
    """Score all queries by BM25 over the exact text of the pages."""
    texts = [page.text for page in page_set.pages]
    return System(
        BM25,
        {
            kind: bm25([query.text for query in queries], texts)
            for kind, queries in page_set.queries.items()
        },
    )


def score_by_checkpoint(page_set: PageSet, checkpoint: Path, work: Path) -> System:
    """Score all queries by a checkpoint, as the service would.

    Args:
        page_set: Pages and queries.
        checkpoint: Folder of the checkpoint.
        work: Folder for images and embeddings.

    Raises:
        ModelLoadError: The checkpoint could not be loaded or proved.
        ConfigError: A page or query could not be embedded.
    """
    kinds = {kind: queries for kind, queries in page_set.queries.items() if queries}
    texts = [query.text for queries in kinds.values() for query in queries]
    images = page_images(page_set.pages, page_set.pdfs, work / "evaluation" / "images")
    named = ((page.id, image) for page, image in images)
    system = score_images(checkpoint, texts, named, len(page_set.pages), work)
    stops = np.cumsum([len(queries) for queries in kinds.values()])[:-1]
    parts = np.split(system.scores["all"], stops)
    empty = np.zeros((0, len(page_set.pages)), np.float32)
    scores = dict.fromkeys(page_set.queries, empty) | dict(zip(kinds, parts, strict=True))
    return replace(system, scores=scores)


def score_images(
    checkpoint: Path,
    texts: Sequence[str],
    images: Iterable[tuple[str, bytes]],
    count: int,
    work: Path,
) -> System:
    """Score texts on images of pages by a checkpoint, as the service would.

    Embeddings of pages are kept on disk by the checkpoint's fingerprint: after an interruption,
    or with more pages, only what is missing is embedded. `COLPALI_*` settings are respected.

    Args:
        checkpoint: Folder of the checkpoint.
        texts: The queries.
        images: Name and encoded image of each page, taken one after another.
        count: How many pages there are.
        work: Folder for embeddings.

    Returns:
        Scores float32 (n_queries, n_pages) of the kind "all".

    Raises:
        ModelLoadError: The checkpoint could not be loaded or proved.
        ConfigError: A page or query could not be embedded.
    """
    encoder = Encoder.load(EncoderSettings.from_environment({"model": str(checkpoint)}, os.environ))
    fingerprint = encoder.loaded.fingerprint
    kept = work / "evaluation" / "embeddings" / fingerprint[:16]
    wanted = embed_queries(encoder, texts)
    with progress_bar() as progress:
        task = progress.add_task(f"pages by {checkpoint.name}", total=count)
        embeddings = (embed_page(encoder, name, image, kept) for name, image in images)
        chunks = _chunks(embeddings, lambda: progress.advance(task))
        blocks = [maxsim(wanted, chunk) for chunk in chunks]
    dtype = str(encoder.loaded.dtype).removeprefix("torch.")
    return System(checkpoint.name, {"all": np.concatenate(blocks, axis=1)}, fingerprint, dtype)


def embed_page(encoder: Encoder, name: str, image: bytes, kept: Path) -> Embedding:
    """Embed a page, or read the embedding that an earlier run left.

    Args:
        encoder: The encoder.
        name: Name of the page.
        image: Its encoded image.
        kept: Folder of this checkpoint's embeddings.

    Returns:
        float16 (n_vectors, dim), what the service sends by default.

    Raises:
        ConfigError: The page could not be embedded.
    """
    path = kept / f"{hashlib.sha256(image).hexdigest()[:24]}.npy"
    if path.is_file():
        embedding: Embedding = np.load(path)
        return embedding
    embedding = _half(encoder.embed_images([ImageInput(name, image)])[0])
    kept.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.save(buffer, embedding)
    with whole(path) as file:
        file.write_bytes(buffer.getvalue())
    return embedding


def embed_queries(encoder: Encoder, texts: Sequence[str]) -> list[Embedding]:
    """Embed texts: each float16 (n_vectors, dim).

    Raises:
        ConfigError: A text could not be embedded.
    """
    inputs = [TextInput(str(place), text) for place, text in enumerate(texts)]
    return [_half(encoded) for encoded in encoder.embed_texts(inputs)]


def _half(encoded: Encoded | ColPaliError) -> Embedding:
    if isinstance(encoded, ColPaliError):
        raise ConfigError(encoded.message, encoded.item) from encoded
    return encoded.embedding.astype(np.float16)


def _chunks(embeddings: Iterable[Embedding], done: Callable[[], None]) -> Iterable[list[Embedding]]:
    """Group a few pages: memory stays flat however many pages there are."""
    chunk: list[Embedding] = []
    for embedding in embeddings:
        chunk.append(embedding)
        done()
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
