"""A request's body, JSON or multipart, to a checked model and the files that came along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_origin

import orjson
from pydantic import AliasChoices, BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request

from colpali_serve.gateway.http.errors import HttpError
from colpali_serve.gateway.http.flow import ClientGoneError

Model = TypeVar("Model", bound=BaseModel)

_MULTIPART = "multipart/form-data"
_MAX_FIELD_BYTES = 1024**2
_MAX_FILES = 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart body.

    Attributes:
        name: As the caller calls it, without folders.
        content: Its bytes.
    """

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Sent(Generic[Model]):
    """What a request sent.

    Attributes:
        body: The model; from a form it is made of the fields.
        files: In the order in which they came; empty for JSON.
        multipart: Whether it was a form.
    """

    body: Model
    files: list[Upload]
    multipart: bool


async def read(request: Request, model: type[Model]) -> Sent[Model]:
    """Read a body to its end and check it.

    Args:
        request: Its body is JSON, or a form whose files stand under ``files``.
        model: What JSON or fields must look like.

    Raises:
        HttpError: 415 for another media type, 400 for what cannot be parsed, 422 for values of
            the wrong kind.
        TooLargeError: More bytes than the service takes.
        ClientGoneError: The caller went away meanwhile.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    try:
        if kind == _MULTIPART:
            return await _read_form(request, model)
        if kind == "application/json" or kind.endswith("+json"):
            return Sent(_checked(model, _parsed(await request.body())), [], False)
    except ClientDisconnect:
        raise ClientGoneError from None
    expected = f"application/json or {_MULTIPART}"
    raise HttpError(415, f"content type is {kind[:100]!r}, expected {expected}", "content-type")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HttpError(400, f"the body is not JSON ({error}), expected a JSON object") from None


async def _read_form(request: Request, model: type[Model]) -> Sent[Model]:
    async with request.form(max_files=_MAX_FILES, max_part_size=_MAX_FIELD_BYTES) as form:
        files = [
            Upload(_file_name(value.filename, number), await value.read())
            for number, (name, value) in enumerate(form.multi_items())
            if isinstance(value, UploadFile) and _is_files(name)
        ]
        fields = _fields(form, model)
    return Sent(_checked(model, fields), files, True)


def _is_files(name: str) -> bool:
    if name in ("files", "files[]", "file"):
        return True
    raise HttpError(422, f"a file stands in field {name[:100]!r}, expected 'files'", "files")


def _file_name(name: str | None, number: int) -> str:
    # Browsers and curl may send folders along; they are the caller's own affair.
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return last[:200] or f"file {number + 1}"


def _fields(form: FormData, model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lists = set(_list_fields(model))
    for name in form:
        values = [value for value in form.getlist(name) if isinstance(value, str)]
        if not values:
            continue
        found[name] = values if name in lists else values[-1]
    return found


def _list_fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield the names, under all of their names, of fields that take a list."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is list:
            yield name
            if isinstance(field.validation_alias, AliasChoices):
                yield from (str(alias) for alias in field.validation_alias.choices)


def _checked(model: type[Model], values: Any) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
        raise HttpError(422, text, where or None) from None
