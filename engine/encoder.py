"""The encoder: encoded images and texts in, embeddings out, one bad item hurting nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from colpali_serve.engine.forward import Grid, embed_batch, grids, page_batch, query_batch
from colpali_serve.engine.images import decode_data_uri, decode_image
from colpali_serve.engine.isolation import run_isolated
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.pooling import pool
from colpali_serve.engine.queries import QueryGuard
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import (
    ColPaliError,
    Embedding,
    InvalidPageError,
    InvalidQueryError,
    owner,
)

_CUDA_BATCH = 8
_TEXT_BATCH = 32
"""Queries are a few vectors each: they go together whatever the batch of pages."""


@dataclass(frozen=True)
class ImageInput:
    """An encoded image to embed.

    Attributes:
        id: Its name.
        data: Encoded bytes.
        url: Or a `data:` URI.
        kind: "page", or "query" for search by image.
    """

    id: str
    data: bytes | None = None
    url: str | None = None
    kind: str = "page"

    @property
    def owner(self) -> str:
        """How errors call it."""
        return owner(self.kind, self.id)


@dataclass(frozen=True)
class TextInput:
    """A text query to embed.

    Attributes:
        id: Its name.
        text: What to look for.
    """

    id: str
    text: str

    @property
    def owner(self) -> str:
        """How errors call it."""
        return owner("query", self.id)


@dataclass(frozen=True)
class Encoded:
    """An embedding.

    Attributes:
        embedding: float32 (n_vectors, dim), unit rows, no padding rows.
        grid: Patch columns and rows of an image that was not pooled, else None.
    """

    embedding: Embedding
    grid: Grid | None = None


class Encoder:
    """Embeds pages and queries with one proved model.

    Args:
        loaded: The model.
        settings: Limits, batch size and pooling.
    """

    def __init__(self, loaded: LoadedModel, settings: EncoderSettings) -> None:
        self.loaded = loaded
        self.settings = settings
        self._guard = QueryGuard(loaded.processor, settings)
        self._batch_size = settings.batch_size or (
            _CUDA_BATCH if loaded.device.type == "cuda" else 1
        )

    @classmethod
    def load(cls, settings: EncoderSettings) -> Encoder:
        """Load and prove the model that the settings name.

        Raises:
            ConfigError: The device is not there.
            ModelLoadError: The checkpoint could not be found, loaded or proved.
        """
        return cls(load_model(settings), settings)

    def embed_images(
        self, inputs: Sequence[ImageInput], pool_factor: int | None = None
    ) -> list[Encoded | ColPaliError]:
        """Embed page images, of any mixture of sizes and formats.

        Args:
            inputs: The images.
            pool_factor: Overrides the setting.

        Returns:
            One entry an image, in order; for a bad image the error that it got.
        """
        results: list[Encoded | ColPaliError] = []
        factor = pool_factor or self.settings.pool_factor
        for start in range(0, len(inputs), self._batch_size):
            results += self._embed_chunk(inputs[start : start + self._batch_size], factor)
        return results

    def embed_texts(self, inputs: Sequence[TextInput]) -> list[Encoded | ColPaliError]:
        """Embed text queries.

        Args:
            inputs: The queries.

        Returns:
            One entry a query, in order; for a bad query the error that it got.
        """
        results: list[Encoded | ColPaliError] = []
        for start in range(0, len(inputs), _TEXT_BATCH):
            chunk = inputs[start : start + _TEXT_BATCH]
            checked = [self._check_text(entry) for entry in chunk]
            good = [entry for entry in checked if isinstance(entry, TextInput)]
            encoded = iter(run_isolated(good, self._run_texts, _name))
            results += [
                entry if isinstance(entry, ColPaliError) else next(encoded) for entry in checked
            ]
        return results

    def _embed_chunk(
        self, inputs: Sequence[ImageInput], pool_factor: int
    ) -> list[Encoded | ColPaliError]:
        decoded = [self._decode(entry) for entry in inputs]
        good = [
            (entry, image)
            for entry, image in zip(inputs, decoded, strict=True)
            if isinstance(image, Image.Image)
        ]

        def run(items: Sequence[tuple[ImageInput, Image.Image]]) -> list[Encoded]:
            images = [image for _, image in items]
            batch = page_batch(self.loaded, images)
            places: list[Grid | None] = [*grids(self.loaded, batch, images)]
            rows = embed_batch(self.loaded, batch)
            if pool_factor > 1:
                rows = [pool(embedding, pool_factor) for embedding in rows]
                places = [None] * len(rows)
            return [Encoded(*pair) for pair in zip(rows, places, strict=True)]

        encoded = iter(run_isolated(good, run, lambda pair: _name(pair[0])))
        return [image if isinstance(image, ColPaliError) else next(encoded) for image in decoded]

    def _run_texts(self, items: Sequence[TextInput]) -> list[Encoded]:
        batch = query_batch(self.loaded, [entry.text for entry in items])
        return [Encoded(embedding) for embedding in embed_batch(self.loaded, batch)]

    def _decode(self, entry: ImageInput) -> Image.Image | ColPaliError:
        try:
            data = entry.data
            if data is not None and entry.url is not None:
                raise InvalidPageError(
                    f"{entry.owner}: has an image and a url, expected one of them", entry.id
                )
            if data is None:
                if entry.url is None:
                    raise InvalidPageError(
                        f"{entry.owner}: has no image, expected image bytes or a data: URI",
                        entry.id,
                    )
                data = decode_data_uri(entry.url, entry.owner, entry.id, self.settings)
            image = decode_image(data, entry.owner, entry.id, self.settings)
            most = self.loaded.family.max_aspect
            aspect = max(image.size) / min(image.size)
            if most is not None and aspect > most:
                raise InvalidPageError(
                    f"{entry.owner}: image is {image.width}x{image.height}, a ratio of "
                    f"{aspect:.0f}:1, expected at most {most:.0f}:1",
                    entry.id,
                )
        except InvalidPageError as error:
            if entry.kind == "query":
                return InvalidQueryError(error.message, error.item)
            return error
        return image

    def _check_text(self, entry: TextInput) -> TextInput | InvalidQueryError:
        try:
            return TextInput(entry.id, self._guard.check(entry.text, entry.owner, entry.id))
        except InvalidQueryError as error:
            return error


def _name(entry: ImageInput | TextInput) -> tuple[str, str]:
    return entry.owner, entry.id
