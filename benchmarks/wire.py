"""An encoder that costs nothing: what is left is the way through the doors."""

from typing import Any

import numpy as np
from docarray import DocList
from jina import Executor, requests

from colpali_serve.schemas import EMBED_IMAGES, EncodeParameters, PageDoc

SHAPE = (1030, 128)
"""Of a ColPali page."""


class Wire(Executor):
    """Answers each page with an embedding of the usual size."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rows = np.random.default_rng(0).standard_normal(SHAPE)
        self._rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    @requests(on=EMBED_IMAGES)
    def embed_images(
        self, docs: DocList[PageDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[PageDoc]:
        """Fill `embedding` and remove the image, as the encoder does."""
        dtype = EncodeParameters.parse(parameters).embedding_dtype or "float16"
        for page in docs:
            page.embedding = self._rows.astype(dtype)
            page.image = page.url = None
        return docs
