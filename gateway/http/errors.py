"""Every failure as a status and one shape of body: ``{"error": {"type", "message", "item"}}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from colpali_serve.gateway.http.flow import ClientGoneError
from colpali_serve.gateway.redaction import InternalError
from colpali_serve.schemas import (
    AuthenticationError,
    ColPaliError,
    EncodingError,
    InvalidInputError,
    OverloadedError,
    ServiceUnavailableError,
    TimeLimitError,
    TooLargeError,
)

_log = logging.getLogger("colpali_serve.gateway.http")

_RETRY_AFTER_S = 1
_STATUS: tuple[tuple[type[ColPaliError], HTTPStatus], ...] = (
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (AuthenticationError, HTTPStatus.UNAUTHORIZED),
    (InvalidInputError, HTTPStatus.BAD_REQUEST),
    (OverloadedError, HTTPStatus.TOO_MANY_REQUESTS),
    (TimeLimitError, HTTPStatus.GATEWAY_TIMEOUT),
    (ServiceUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_HEADERS: dict[int, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"www-authenticate": "Bearer"},
    HTTPStatus.TOO_MANY_REQUESTS: {"retry-after": str(_RETRY_AFTER_S)},
    HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": str(_RETRY_AFTER_S)},
}


class HttpError(ColPaliError):
    """A request that is wrong as HTTP, whatever it asks for.

    Args:
        status: Of the answer, for example 415.
        message: What was wrong and what was expected.
        item: Name of the field at fault, if one is.
    """

    def __init__(self, status: int, message: str, item: str | None = None) -> None:
        super().__init__(message, item)
        self.status = status


def status_of(error: ColPaliError) -> int:
    """Return the HTTP status of an error's class.

    >>> status_of(TooLargeError("...")), status_of(ColPaliError("..."))
    (413, 500)
    """
    if isinstance(error, HttpError):
        return error.status
    return int(next((status for cls, status in _STATUS if isinstance(error, cls)), 500))


def describe(error: ColPaliError) -> dict[str, Any]:
    """Return what stands under ``error`` in a body, or in a line of a stream."""
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(
        error, EncodingError
    ):
        error = InternalError()
    kind = "InvalidInputError" if isinstance(error, HttpError) else type(error).__name__
    return {"type": kind, "message": error.message, "item": error.item}


def answer(error: ColPaliError) -> Response:
    """Return the response to a request that ended in this error."""
    status = status_of(error)
    return Response(
        orjson.dumps({"error": describe(error)}),
        status,
        media_type="application/json",
        headers=_HEADERS.get(status),
    )


def install(app: FastAPI) -> None:
    """Let an application answer every failure so, its framework's own included."""
    app.add_exception_handler(ColPaliError, _typed)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientGoneError, _gone)
    app.add_exception_handler(Exception, _unexpected)


async def _typed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ColPaliError)
    if error.__cause__ is not None:
        _log.error("%s %s: %r", request.method, request.url.path, error, exc_info=error.__cause__)
    return answer(error)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return answer(HttpError(422, f"{where}: {first['msg']}", where))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        text = "there is nothing at this address, expected one of the paths that /docs lists"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = next(iter((error.headers or {}).values()), "another one")
        text = f"method {request.method} is not allowed here, expected {allowed}"
    response = answer(HttpError(error.status_code, text))
    response.headers.update(error.headers or {})
    return response


async def _gone(request: Request, error: Exception) -> Response:
    # Nobody reads it; the number is what other servers log for this.
    return Response(status_code=499)


async def _unexpected(request: Request, error: Exception) -> Response:
    return answer(InternalError())
