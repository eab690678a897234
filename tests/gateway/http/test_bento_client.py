"""What BentoML's own client asks for first. The client itself wants another pydantic than Jina."""

from __future__ import annotations

import httpx2 as httpx
import numpy as np

from tests.gateway.http.sending import page, uri

SAMPLES = {
    "items": {"string": ["a"], "object": [{"url": uri(page())}]},
    "images": {"object": [{"url": uri(page())}]},
    "queries": {"string": ["a"]},
    "image_embeddings": {"tensor": [[[1.0, 0.0]]]},
    "query_embeddings": {"tensor": [[[1.0, 0.0]]]},
}


def test_it_waits_until_the_service_is_up(http: httpx.Client) -> None:
    assert http.get("/livez").status_code == 200
    assert http.get("/readyz").status_code == 200


def test_every_route_of_the_schema_takes_and_gives_what_it_says(http: httpx.Client) -> None:
    routes = http.get("/schema.json").raise_for_status().json()["routes"]
    names = {"embed_images", "embed_queries", "score", "score_embeddings"}
    assert {route["name"] for route in routes} == names
    for route in routes:
        fields = route["input"]["properties"]
        assert route["input"]["required"] == list(fields)
        body = {name: SAMPLES[name][field["items"]["type"]] for name, field in fields.items()}
        answer = http.post(route["route"], json=body).raise_for_status().json()
        tensors = [answer] if route["output"]["type"] == "tensor" else answer
        assert [np.array(tensor, np.float32).ndim for tensor in tensors] == [2]
