"""Operations: alive, ready, figures, versions."""

from __future__ import annotations

import re

import grpc
import httpx2 as httpx
from docarray import DocList
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jina import Client

from colpali_serve.schemas import EMBED_QUERIES, QueryDoc
from tests.gateway.calls import queries
from tests.gateway.http.conftest import Service
from tests.gateway.http.sending import error


def test_live(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "live"}


def test_ready_after_a_forward_that_nobody_asked_for(http: httpx.Client) -> None:
    answer = http.get("/health/ready").raise_for_status().json()
    assert answer["status"] == "ready"
    assert 0 <= answer["seconds_since_last_forward"] < 60


def test_version_tells_the_checkpoint_s_fingerprint(http: httpx.Client) -> None:
    answer = http.get("/version").raise_for_status().json()
    assert {"colpali-serve", "jina", "python"} <= set(answer["packages"])
    model = answer["model"]
    assert model["family"] == "ColQwen2"
    assert re.fullmatch(r"[0-9a-f]{32}", model["fingerprint"])
    assert (model["dtype"], model["device"], model["pool_factor"]) == ("float32", "cpu", 1)


def test_metrics_of_both_doors_by_route_and_status(service: Service, http: httpx.Client) -> None:
    http.post("/embed_queries", json={"items": ["a"]}).raise_for_status()
    error(http.post("/embed_queries", json={"items": [""]}), 400)
    http.get("/a-path-that-somebody-guessed")
    Client(port=service.port).post(EMBED_QUERIES, queries("a"), return_type=DocList[QueryDoc])
    text = http.get("/metrics").raise_for_status().text
    found = dict(re.findall(r"^(colpali_gateway_requests_total\{.+\}) ([\d.]+)$", text, re.M))
    for door, route, status in (
        ("http", "/embed_queries", "200"),
        ("http", "/embed_queries", "400"),
        ("http", "other", "404"),
        ("grpc", "/embed_queries", "ok"),
    ):
        labels = f'door="{door}",route="{route}",status="{status}"'
        assert float(found[f"colpali_gateway_requests_total{{{labels}}}"]) >= 1
    assert "guessed" not in text
    assert re.search(r'colpali_gateway_in_flight\{door="http"\} 1\.0', text)
    assert 'colpali_gateway_seconds_bucket{door="http",le="0.1",route="/embed_queries"}' in text


def test_the_grpc_door_describes_itself(service: Service) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        wanted = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = stub.ServerReflectionInfo(iter([wanted]))
    names = {each.name for each in answer.list_services_response.service}
    assert {"jina.JinaRPC", "grpc.reflection.v1alpha.ServerReflection"} <= names
