"""MaxSimRanker as an Executor; its scores are tested through the Flow."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from docarray import DocList
from jina import Executor

from colpali_serve.executors.ranker import MaxSimRanker
from colpali_serve.schemas import (
    PAGES_DROP,
    PAGES_LIST,
    PAGES_PUT,
    ConfigError,
    InvalidInputError,
    OverloadedError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    StoreDoc,
)
from tests.conftest import ROOT

ROWS = np.eye(2, dtype=np.float32)


def test_loads_from_its_config() -> None:
    assert isinstance(
        Executor.load_config(str(ROOT / "deploy" / "ranker" / "config.yml")), MaxSimRanker
    )


def test_passes_pages_and_queries_through_for_the_stock_gateway() -> None:
    ranker = MaxSimRanker()
    pages = DocList[PageDoc]([PageDoc(embedding=ROWS)])
    queries = DocList[QueryDoc]([QueryDoc(text="red")])
    assert ranker.pass_pages(pages) is pages
    assert ranker.pass_queries(queries) is queries


@pytest.mark.parametrize("block_mb", [0, -1, "64"])
def test_a_senseless_block_is_refused(block_mb: object) -> None:
    with pytest.raises(ConfigError, match="setting 'block_mb' is"):
        MaxSimRanker(block_mb=block_mb)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"backend": "abacus"}, "MaxSim backend is 'abacus', expected one of auto, amx"),
        ({"precision": "float8"}, "setting 'precision' is 'float8', expected one of auto, float32"),
        ({"threads": 0}, "setting 'threads' is 0, expected a positive whole number"),
        ({"max_resident_mb": -1}, "setting 'max_resident_mb' is -1, expected a whole number, 0"),
    ],
)
def test_senseless_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaxSimRanker(**setting)


def test_pages_are_kept_only_where_a_flow_asks_for_it() -> None:
    paths = {PAGES_PUT, PAGES_DROP, PAGES_LIST}
    assert not paths & set(MaxSimRanker().requests)
    assert paths <= set(MaxSimRanker(max_resident_mb=1).requests)
    queries = DocList[QueryDoc]([QueryDoc(embedding=ROWS)])
    docs = DocList[ScoreDoc]([ScoreDoc(queries=queries, resident=["a"])])
    with pytest.raises(InvalidInputError, match="expected one of the 0 pages that are"):
        MaxSimRanker().score(docs, parameters={})


def test_more_pages_than_memory_allows() -> None:
    ranker = MaxSimRanker(max_resident_mb=1)
    page = np.ones((1000, 128), np.float16)
    docs = DocList[PageDoc](PageDoc(id=str(i), embedding=page) for i in range(3))
    ranker.put_pages(docs, parameters={})
    more = DocList[PageDoc](PageDoc(id=str(i), embedding=page) for i in range(3, 5))
    with pytest.raises(OverloadedError, match=r"2 pages would make 1.2 MiB .* at most 1.0 MiB"):
        ranker.put_pages(more, parameters={})
    listed = ranker.list_pages(DocList[StoreDoc]([StoreDoc()]))[0]
    assert listed.ids == ["0", "1", "2"]


def test_all_items_failed_before() -> None:
    doc = ScoreDoc(
        queries=DocList[QueryDoc]([QueryDoc(error="InvalidQueryError: no")]),
        pages=DocList[PageDoc]([PageDoc(embedding=ROWS), PageDoc(error="InvalidPageError: no")]),
    )
    result = MaxSimRanker().score(
        DocList[ScoreDoc]([doc]), parameters={"top_k": 1.0, "on_error": "keep"}
    )[0]
    assert np.isnan(result.scores).all()
    assert result.ranking.shape == (1, 1)


def test_the_ranker_does_not_load_the_model_libraries() -> None:
    code = (
        "import sys, colpali_serve.executors.ranker;"
        "sys.exit(any(name in sys.modules for name in ('transformers', 'colpali_engine')))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_the_ranker_works_where_there_is_no_torch(backend: str) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from docarray import DocList
from colpali_serve.executors.ranker import MaxSimRanker
from colpali_serve.schemas import PageDoc, QueryDoc, ScoreDoc
rows = np.eye(2, dtype=np.float16)
doc = ScoreDoc(queries=DocList[QueryDoc]([QueryDoc(embedding=rows)]),
               pages=DocList[PageDoc]([PageDoc(embedding=rows)]))
ranker = MaxSimRanker(backend={backend!r})
assert ranker.score(DocList[ScoreDoc]([doc]), parameters={{}})[0].scores.tolist() == [[2.0]]
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_package_offers_its_executors_by_name() -> None:
    import colpali_serve.executors as executors

    assert executors.MaxSimRanker is MaxSimRanker
    assert executors.ColPaliEncoder.__module__ == "colpali_serve.executors.encoder"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = executors.Nothing
