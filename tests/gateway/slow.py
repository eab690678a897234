"""An Executor that takes as long as a query says."""

import asyncio

from docarray import DocList
from jina import Executor, requests

from colpali_serve.schemas import EMBED_IMAGES, EMBED_QUERIES, PageDoc, QueryDoc


class Slow(Executor):
    """A query of ``3`` takes three seconds; its embedding is the same for all."""

    def __init__(self, **kwargs):
        kwargs["runtime_args"] = {**kwargs.get("runtime_args", {}), "allow_concurrent": True}
        super().__init__(**kwargs)

    @requests(on=EMBED_QUERIES)
    async def embed_queries(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        for query in docs:
            try:
                await asyncio.sleep(float(query.text) if query.text[:1].isdigit() else 0)
            except asyncio.CancelledError:
                print(f"query {query.id} was called off", flush=True)
                raise
            query.embedding = [[1.0, 0.0]]
        return docs

    @requests(on=EMBED_IMAGES)
    async def embed_images(self, docs: DocList[PageDoc], **kwargs) -> DocList[PageDoc]:
        for page in docs:
            page.embedding = [[1.0, 0.0]]
        return docs
