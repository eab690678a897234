"""The OpenAPI document says what the service does: by its own examples, and by schemathesis."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.http.conftest import Service

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").raise_for_status().json()
    return found


def bodies(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        path: operation["requestBody"]["content"]
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if "requestBody" in operation
    }


def test_every_example_works(http: httpx.Client, document: dict[str, Any]) -> None:
    found = bodies(document)
    assert {"/embed_images", "/embed_queries", "/score", "/score_embeddings"} <= set(found)
    assert {"/v1/embeddings", "/v1/rerank", "/v1/score"} <= set(found)
    for path, content in found.items():
        http.post(path, json=content["application/json"]["example"]).raise_for_status()


def test_images_may_come_as_files_wherever_they_are_taken(document: dict[str, Any]) -> None:
    for path, content in bodies(document).items():
        takes_images = '"image"' in json.dumps(
            document["components"]["schemas"][
                content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            ]
        )
        if takes_images:
            assert "files" in content["multipart/form-data"]["schema"]["properties"], path


def test_no_reference_leads_nowhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])


@pytest.mark.parametrize("path", ["/embed_images", "/v1/embeddings", "/heatmap", "/metrics"])
def test_keys_are_part_of_the_contract(document: dict[str, Any], path: str) -> None:
    [operation] = document["paths"][path].values()
    assert {"bearer": []} in operation["security"]
    assert "security" not in document["paths"]["/health/live"]["get"]


def test_the_documentation_asks_nobody_else(http: httpx.Client, document: dict[str, Any]) -> None:
    page = http.get("/docs").raise_for_status()
    for path in document["paths"]:
        assert f"</b> {path}</h2>" in page.text
    assert "<script" not in page.text
    assert set(re.findall(r'(?:href|src)="([^"#]+)"', page.text)) == {"docs.css", "openapi.json"}
    assert http.get("/docs.css").headers["content-type"].startswith("text/css")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_sent_is_answered_as_the_contract_says(
    service: Service, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        cases = operation.as_strategy(generation_mode=mode)

        @settings(
            max_examples=15,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def answered(case: Any) -> None:
            case.call_and_validate(base_url=service.address, checks=list(CHECKS))

        # Some operations take nothing that could be wrong.
        with contextlib.suppress(Unsatisfiable):
            answered()
