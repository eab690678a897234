"""Executors of a user's own, around ours."""

from docarray import DocList
from jina import Executor, requests

from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    INFO,
    SCORE,
    SCORE_EMBEDDINGS,
    HeatmapDoc,
    InfoDoc,
    PageDoc,
    QueryDoc,
    ScoreDoc,
)


class Tagger(Executor):
    """Before the encoder: numbers the documents."""

    @requests(on=EMBED_IMAGES)
    def tag_pages(self, docs: DocList[PageDoc], **kwargs) -> DocList[PageDoc]:
        return self._tag(docs)

    @requests(on=EMBED_QUERIES)
    def tag_queries(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        return self._tag(docs)

    @requests(on=SCORE)
    def tag_both(self, docs: DocList[ScoreDoc], **kwargs) -> DocList[ScoreDoc]:
        for doc in docs:
            self._tag(doc.pages)
            self._tag(doc.queries)
        return docs

    def _tag(self, docs):
        for number, doc in enumerate(docs):
            doc.tags["number"] = number
        return docs


class Counter(Executor):
    """After the ranker: counts vectors. Binds all that ours bind, as Jina's gateway wants."""

    @requests(on=EMBED_IMAGES)
    def count_pages(self, docs: DocList[PageDoc], **kwargs) -> DocList[PageDoc]:
        return self._count(docs)

    @requests(on=EMBED_QUERIES)
    def count_queries(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        return self._count(docs)

    @requests(on=[SCORE, SCORE_EMBEDDINGS])
    def count_both(self, docs: DocList[ScoreDoc], **kwargs) -> DocList[ScoreDoc]:
        for doc in docs:
            self._count(doc.pages)
            self._count(doc.queries)
        return docs

    @requests(on=HEATMAP)
    def pass_heatmaps(self, docs: DocList[HeatmapDoc], **kwargs) -> DocList[HeatmapDoc]:
        return docs

    @requests(on=INFO)
    def pass_info(self, docs: DocList[InfoDoc], **kwargs) -> DocList[InfoDoc]:
        return docs

    def _count(self, docs):
        for doc in docs:
            doc.tags["n_vectors"] = len(doc.embedding)
        return docs
