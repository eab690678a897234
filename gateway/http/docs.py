"""/docs: every route with its fields and an example to copy, without a script from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

_STYLE = Path(__file__).with_name("docs.css")
_MAX_VALUE = 70
_REF = "#/components/schemas/"


@router.get("/docs")
async def page(request: Request) -> HTMLResponse:
    """Describe the routes."""
    document = request.app.openapi()
    return HTMLResponse("".join(_page(document, str(request.base_url).rstrip("/"))))


@router.get("/docs.css")
async def style() -> Response:
    """Return the style sheet of /docs."""
    return Response(_STYLE.read_bytes(), media_type="text/css")


def _page(document: Mapping[str, Any], base: str) -> Iterator[str]:
    info = document["info"]
    schemas = document["components"]["schemas"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{escape(info["title"])}</title><link rel="stylesheet" href="docs.css"></head>'
    yield f"<body><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
    yield f"<p>{escape(info.get('summary', ''))}</p>"
    yield '<p>Machine-readable: <a href="openapi.json">openapi.json</a>. Where the service wants '
    yield "a key, send <code>Authorization: Bearer &lt;key&gt;</code> or <code>x-api-key: "
    yield "&lt;key&gt;</code>. What is wrong comes back as "
    yield "<code>{&quot;error&quot;: {type, message, item}}</code>.</p><nav><ul>"
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for path, method, _ in operations:
        yield f'<li><a href="#{escape(_anchor(path))}"><b>{method.upper()}</b> {escape(path)}</a>'
    yield "</ul></nav>"
    for path, method, operation in operations:
        yield f'<section id="{escape(_anchor(path))}"><h2><b>{method.upper()}</b> {escape(path)}'
        yield "</h2>"
        for paragraph in operation.get("description", "").split("\n\n"):
            yield f"<p>{escape(paragraph)}</p>"
        if "requestBody" in operation:
            yield from _body(path, operation["requestBody"]["content"], schemas, base)
        yield from _answers(operation["responses"])
        yield "</section>"
    yield "</body></html>"


def _body(
    path: str, content: Mapping[str, Any], schemas: Mapping[str, Any], base: str
) -> Iterator[str]:
    json_body = content["application/json"]
    model = schemas[json_body["schema"]["$ref"].removeprefix(_REF)]
    required = model.get("required", [])
    notes = _notes(model.get("description", ""))
    yield "<table><tr><th>field<th>type<th>default<th>meaning</tr>"
    for name, field in model["properties"].items():
        default = "required" if name in required else json.dumps(field.get("default"))
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(_kind(field))}"
        yield f"<td>{escape(default)}<td>{escape(notes.get(name, field.get('description', '')))}"
    yield "</table><h3>Example</h3>"
    body = json.dumps(_shortened(json_body["example"]))
    yield _code(f"curl {base}{path} -H 'content-type: application/json' \\\n  -d {_quoted(body)}")
    if "multipart/form-data" in content:
        yield "<p>With files, images or PDFs:</p>"
        fields = "".join(
            f" -F {_quoted(f'{name}={value}')}"
            for name, value in json_body["example"].items()
            if isinstance(value, str) and name in required
        )
        yield _code(f"curl {base}{path} -F files=@report.pdf{fields}")


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    yield "<h3>Answers</h3><ul>"
    for status, response in responses.items():
        yield f"<li><code>{escape(status)}</code> {escape(response['description'])}"
    yield "</ul>"


def _notes(docstring: str) -> dict[str, str]:
    """Take apart the `Attributes:` of a model's docstring."""
    _, _, listed = docstring.partition("Attributes:\n")
    notes: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        if line.startswith("    ") and not line.startswith("     ") and ":" in line:
            name, _, text = line.strip().partition(":")
            notes[name] = text.strip()
        elif name:
            notes[name] += f" {line.strip()}"
    return notes


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).removeprefix(_REF)
    if "title" in field and "anyOf" in field and field["title"] in ("Image", "TextOrImage"):
        return str(field["title"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(part) for part in field["anyOf"]))
    if "enum" in field:
        return " or ".join(json.dumps(value) for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    return str(field.get("type", "anything"))


def _shortened(value: Any) -> Any:
    """Return an example whose data: URIs fit on a line."""
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    long = isinstance(value, str) and len(value) > 4 * _MAX_VALUE
    return f"{value[:_MAX_VALUE]}..." if long else value


def _quoted(text: str) -> str:
    quoted = text.replace("'", "'\\''")
    return f"'{quoted}'"


def _code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def _anchor(path: str) -> str:
    return path.strip("/").replace("/", "-") or "root"
