"""A service that answers as the real one does, with embeddings that can be told by looking.

What is under test is the client; so this one does what a page's or a query's name asks for.
"""

import asyncio
import io
from collections import Counter
from typing import Any

import numpy as np
from docarray import DocList
from jina import Executor, requests
from PIL import Image

from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    SCORE_EMBEDDINGS,
    Compressed,
    EncodeParameters,
    HeatmapDoc,
    HeatmapParameters,
    InvalidPageError,
    OverloadedError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    compress,
    describe,
)


def embed_colour(data: bytes) -> np.ndarray:
    """Mean red, green and blue of an image, between 0 and 1, twice."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    mean = np.asarray(image, np.float64).mean((0, 1)) / 255
    return np.stack([mean, mean])


def embed_text(text: str) -> np.ndarray:
    """Red, green and blue, as the letters r, g and b of a text say."""
    letters = Counter(text)
    return np.array([[letters["r"], letters["g"], letters["b"]]], np.float64) / 100


class FakeService(Executor):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attempts: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()

    @requests(on=EMBED_IMAGES)
    async def embed_images(
        self, docs: DocList[PageDoc], parameters: dict, **_: Any
    ) -> DocList[PageDoc]:
        chosen = EncodeParameters.parse(parameters)
        # Apart for each caller: posts that an earlier test gave up may still be under way.
        caller = str(docs[0].tags.get("caller"))
        self.under_way[caller] += 1
        try:
            most = self.under_way[caller]
            for doc in docs:
                await self.act(str(doc.id))
                most = max(most, self.under_way[caller])
            for doc in docs:
                self.embed(doc, chosen)
                # Nobody here has patches: tell how the page came instead.
                doc.grid = [len(docs), most]
                doc.box = [0.25, 0.0, 1.0, 0.5]
        finally:
            self.under_way[caller] -= 1
        if any(doc.id == "reversed" for doc in docs):
            docs.reverse()
        return docs

    async def act(self, name: str) -> None:
        if name.startswith("slow"):
            await asyncio.sleep(1.5)
        if name.startswith("crash"):
            raise KeyError("a secret of the server")
        self.attempts[name] += 1
        if name.startswith("busy") and self.attempts[name] <= 2:
            raise OverloadedError("the queue is full, try again later")

    def embed(self, doc: PageDoc, chosen: EncodeParameters) -> None:
        data, doc.image = doc.image, None
        if str(doc.id).startswith("refused"):
            error = InvalidPageError(f"page '{doc.id}': refused, expected another", str(doc.id))
            if chosen.on_error == "raise":
                raise error
            doc.error = describe(error)
        elif not str(doc.id).startswith("forgotten"):
            embedding = embed_colour(data or b"")[:: chosen.pool_factor or 1]
            found = compress(embedding, chosen.embedding_dtype or "float16")
            if isinstance(found, Compressed):
                doc.embedding, doc.scale = found.values, found.scale
            else:
                doc.embedding = found

    @requests(on=EMBED_QUERIES)
    async def embed_queries(
        self, docs: DocList[QueryDoc], parameters: dict, **_: Any
    ) -> DocList[QueryDoc]:
        chosen = EncodeParameters.parse(parameters)
        for doc in docs:
            embedding = embed_colour(doc.image) if doc.image else embed_text(doc.text or "")
            doc.embedding = embedding.astype(chosen.embedding_dtype)
            doc.image = None
        return docs

    @requests(on=HEATMAP)
    async def heatmap(
        self, docs: DocList[HeatmapDoc], parameters: dict, **_: Any
    ) -> DocList[HeatmapDoc]:
        """Maps of three columns and two rows: how red, green or blue each place is."""
        chosen = HeatmapParameters.parse(parameters)
        for doc in docs:
            await self.act(str(doc.page.id))
            image = Image.open(io.BytesIO(doc.page.image or b"")).convert("RGB")
            places = np.asarray(image.resize((3, 2), Image.Resampling.BOX), np.float32) / 255
            doc.tokens, doc.kinds = list(doc.query.text or ""), ["text"] * len(doc.query.text or "")
            doc.maps = np.stack([places[..., "rgb".index(token)] for token in doc.tokens])
            if chosen.all_tokens:
                doc.tokens, doc.kinds = [*doc.tokens, "<pad>"], [*doc.kinds, "special"]
                doc.maps = np.concatenate([doc.maps, np.ones((1, 2, 3), np.float32)])
            if str(doc.page.id).startswith("forgotten"):
                doc.maps = None
            doc.grid, doc.page.image = [3, 2], None
        return docs

    @requests(on=SCORE_EMBEDDINGS)
    async def score(self, docs: DocList[ScoreDoc], **_: Any) -> DocList[ScoreDoc]:
        for doc in docs:
            doc.scores = np.array(
                [
                    [
                        np.max(
                            np.asarray(query.embedding, np.float32)
                            @ np.asarray(page.embedding, np.float32).T,
                            axis=1,
                        ).sum()
                        for page in doc.pages
                    ]
                    for query in doc.queries
                ],
                np.float32,
            )
            for item in (*doc.queries, *doc.pages):
                item.embedding = None
        return docs
