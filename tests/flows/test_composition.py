"""Our Executors in a Flow of a user's own, between Executors of the user's own."""

import io

import numpy as np
import pytest
from docarray import DocList

from colpali_serve.schemas import HeatmapDoc, PageDoc, QueryDoc, ScoreDoc
from tests.flows.processes import running_flow

FLOW = """
jtype: Flow
version: '1'
{gateway}
executors:
  - name: tagger
    uses: Tagger
    py_modules: [tests.flows.executors]
  - name: encoder
    uses: ColPaliEncoder
    py_modules: [colpali_serve.executors.encoder]
    uses_with: {{model: colpali-tiny, device: cpu, threads: 1}}
  - name: ranker
    uses: MaxSimRanker
    py_modules: [colpali_serve.executors.ranker]
  - name: counter
    uses: Counter
    py_modules: [tests.flows.executors]
"""
OURS = "gateway: {uses: ColPaliGateway, py_modules: [colpali_serve.gateway]}"


@pytest.fixture(scope="module", params=["", OURS], ids=["stock gateway", "our gateway"])
def client(request, tmp_path_factory):
    yaml = tmp_path_factory.mktemp("flow") / "flow.yml"
    yaml.write_text(FLOW.format(gateway=request.param))
    with running_flow(yaml, cwd=yaml.parent) as server:
        yield server.client


@pytest.fixture
def pages(images):
    found = []
    for number, image in enumerate(images):
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        found.append(PageDoc(id=f"p{number}", image=encoded.getvalue(), tags={"from": "caller"}))
    return DocList[PageDoc](found)


@pytest.fixture
def queries():
    return DocList[QueryDoc]([QueryDoc(id="q0", text="a table"), QueryDoc(id="q1", text="noise")])


def late_interaction(query, page):
    query, page = query.astype(np.float64), page.astype(np.float64)
    return sum(max(float(left @ right) for right in page) for left in query)


def test_pages_pass_every_executor_once(client, pages):
    docs = client.post("/embed_images", pages, return_type=DocList[PageDoc])
    assert [doc.id for doc in docs] == ["p0", "p1", "p2"]
    for number, doc in enumerate(docs):
        assert doc.image is None
        assert doc.tags == {"from": "caller", "number": number, "n_vectors": len(doc.embedding)}


def test_queries_pass_every_executor_once(client, queries):
    docs = client.post("/embed_queries", queries, return_type=DocList[QueryDoc])
    for number, doc in enumerate(docs):
        assert doc.tags == {"number": number, "n_vectors": len(doc.embedding)}


def test_scores_are_those_of_the_embeddings(client, pages, queries):
    sent = DocList[ScoreDoc]([ScoreDoc(queries=queries, pages=pages)])
    parameters = {"return_embeddings": True}
    [doc] = client.post("/score", sent, return_type=DocList[ScoreDoc], parameters=parameters)
    expected = [
        [late_interaction(query.embedding, page.embedding) for page in doc.pages]
        for query in doc.queries
    ]
    # float16 pages are scored in bfloat16 where the processor multiplies that.
    np.testing.assert_allclose(doc.scores, expected, rtol=0.005 / 20)
    np.testing.assert_array_equal(doc.ranking, np.argsort(-np.array(expected), kind="stable"))
    assert [page.tags["number"] for page in doc.pages] == [0, 1, 2]
    assert [page.tags["n_vectors"] for page in doc.pages] == [len(p.embedding) for p in doc.pages]

    # The same through the endpoints one by one: nothing depends on the way taken.
    alone = client.post("/embed_images", pages, return_type=DocList[PageDoc])
    for page, again in zip(doc.pages, alone, strict=True):
        np.testing.assert_array_equal(page.embedding, again.embedding)
    parts = DocList[ScoreDoc]([ScoreDoc(queries=doc.queries, pages=doc.pages)])
    [scored] = client.post(
        "/score_embeddings", parts, return_type=DocList[ScoreDoc], parameters=parameters
    )
    np.testing.assert_array_equal(scored.scores, doc.scores)


def test_heatmaps_pass_through(client, pages, queries):
    sent = DocList[HeatmapDoc]([HeatmapDoc(page=pages[0], query=queries[0])])
    [doc] = client.post("/heatmap", sent, return_type=DocList[HeatmapDoc])
    assert doc.tokens == ["a", "table"]
    assert doc.maps.shape == (2, 48, 48)
    assert doc.page.image is None
