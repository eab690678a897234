"""The OpenAPI document: bodies of JSON and forms, answers, errors, keys and worked examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, RootModel
from pydantic.json_schema import models_json_schema

from colpali_serve.gateway.http.guard import OPEN
from colpali_serve.gateway.http.images import ImageUrl

_REF = "#/components/schemas/{model}"
_FILES = {
    "type": "array",
    "items": {"type": "string", "contentMediaType": "application/octet-stream"},
    "description": "Images and PDFs.",
}

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAHElEQVR42mP8z8DAwMSAg2"
    "D4wcAgz/if7rIIAgBWxgmLRO4AMAAAAABJRU5ErkJggg=="
)
"""A small page, for examples that work as they stand."""


class ErrorDetail(BaseModel):
    """What was wrong.

    Attributes:
        type: Class of the error.
        message: What was wrong and what was expected.
        item: The page, query or field at fault, if one is.
    """

    type: str
    message: str
    item: str | None


class ErrorBody(BaseModel):
    """Every answer that is no success.

    Attributes:
        error: What was wrong.
    """

    error: ErrorDetail


class Vectors(RootModel[list[list[float]]]):
    """An embedding, (n_vectors, dim)."""


class Scores(RootModel[list[list[float]]]):
    """MaxSim, (n_queries, n_pages)."""


class Packed(BaseModel):
    """An embedding as base64.

    Attributes:
        embedding: Base64 of the rows, one after the other, little-endian.
        shape: (n_vectors, dim).
        dtype: ``float16`` or ``float32``.
    """

    embedding: str
    shape: list[int]
    dtype: str


class EmbeddingsAnswer(RootModel[list[Vectors | Packed]]):
    """An embedding an item, in order."""


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "An item or the JSON is wrong."},
    401: {"model": ErrorBody, "description": "The key is missing or wrong."},
    408: {"model": ErrorBody, "description": "The body stopped."},
    413: {"model": ErrorBody, "description": "Too many bytes or pages."},
    415: {"model": ErrorBody, "description": "Another media type."},
    422: {"model": ErrorBody, "description": "A field has a value of the wrong kind."},
    429: {"model": ErrorBody, "description": "No room now; `Retry-After` says when to try again."},
    500: {"model": ErrorBody, "description": "The service failed; its log has the details."},
    503: {"model": ErrorBody, "description": "Not available now."},
    504: {"model": ErrorBody, "description": "Took too long."},
}
"""Answers that every route with a body may give."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Contract:
    """What a route's body looks like.

    Attributes:
        model: Of JSON, and of a form's fields.
        example: One that works.
        files: Whether a form may bring it, with `files`.
    """

    model: type[BaseModel]
    example: Any
    files: bool


def takes(
    model: type[BaseModel], example: Any, *, files: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Describe the body of a route that reads it itself.

    Args:
        model: As in `Contract`.
        example: As in `Contract`.
        files: As in `Contract`.
    """

    def note(endpoint: Endpoint) -> Endpoint:
        _CONTRACTS[endpoint] = Contract(model, example, files)
        return endpoint

    return note


_CONTRACTS: dict[Callable[..., Any], Contract] = {}


def gives(model: Any, description: str, **more: Any) -> dict[int | str, dict[str, Any]]:
    """Describe a route's answer, which the route writes itself."""
    return {200: {"model": model, "description": description, **more}}


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Let an application's OpenAPI document hold what `takes` and the keys say.

    Args:
        app: The application.
        routers: Those that it serves.
    """
    bodies = {
        (route.path, method.lower()): _CONTRACTS[route.endpoint]
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.endpoint in _CONTRACTS
        for method in sorted(route.methods or ())
    }

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, bodies)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, bodies: Mapping[tuple[str, str], Contract]) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    models = {body.model for body in bodies.values()} | {ImageUrl}
    _, described = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REF,
    )
    schemas.update(described["$defs"])
    found["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            if path not in OPEN:
                operation["security"] = [{}, {"bearer": []}, {"header": []}]
            if (path, method) in bodies:
                operation["requestBody"] = _body(bodies[path, method], schemas)
    return found


def _body(body: Contract, schemas: Mapping[str, Any]) -> dict[str, Any]:
    name = body.model.__name__
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"$ref": _REF.format(model=name)},
            "example": body.example,
        }
    }
    if body.files:
        fields = schemas[name]
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "properties": {**fields["properties"], "files": _FILES},
                "required": [*fields.get("required", []), "files"],
            }
        }
    return {"required": True, "content": content}
