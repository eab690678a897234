"""Small Executors that do what a test's query says."""

from docarray import DocList
from jina import Executor, requests

from colpali_serve.schemas import (
    ConfigError,
    EncodingError,
    InvalidQueryError,
    OverloadedError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
)

SECRET = "/srv/models/secret.bin"
MISDEEDS = {
    "invalid": lambda: InvalidQueryError("query 'q': text is empty", "q"),
    "overloaded": lambda: OverloadedError("the queue is full"),
    "encoding": lambda: EncodingError("query 'q': not finite", "q"),
    "config": lambda: ConfigError(f"cannot read {SECRET}"),
    "crash": lambda: RuntimeError(f"cannot read {SECRET}"),
}


class Front(Executor):
    """First of the Flow; stands for the encoder."""

    @requests(on="/embed_queries")
    def embed_queries(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        for query in docs:
            if query.text in MISDEEDS:
                raise MISDEEDS[query.text]()
            query.tags["seen_by"] = [*query.tags.get("seen_by", []), "front"]
        return docs

    @requests(on="/embed_images")
    def embed_images(self, docs: DocList[PageDoc], **kwargs) -> DocList[PageDoc]:
        raise InvalidQueryError("page 'p': image is 0x0, expected at least 1x1", "p")


class Back(Executor):
    """Last of the Flow; stands for the ranker."""

    @requests(on="/embed_queries")
    def embed_queries(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        for query in docs:
            query.tags["seen_by"] = [*query.tags.get("seen_by", []), "back"]
        return docs

    @requests(on="/embed_images")
    def embed_images(self, docs: DocList[PageDoc], **kwargs) -> DocList[PageDoc]:
        return docs

    @requests(on="/score_embeddings")
    def score(self, docs: DocList[ScoreDoc], **kwargs) -> DocList[ScoreDoc]:
        for doc in docs:
            doc.pages[0].tags["seen_by"] = "back"
        return docs


class Taker(Executor):
    """Takes every endpoint there is."""

    @requests
    def take(self, docs: DocList[QueryDoc], **kwargs) -> DocList[QueryDoc]:
        for query in docs:
            query.tags["seen_by"] = ["taker"]
        return docs
