"""Typed errors pass the boundary without a traceback; everything else becomes one."""

from __future__ import annotations

import logging
import traceback

import pytest

from colpali_serve.executors.boundary import boundary, untraced
from colpali_serve.schemas import EncodingError, InvalidPageError


def as_jina_formats(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), value=error, tb=error.__traceback__))


def test_typed_errors_keep_class_and_message_and_lose_their_files() -> None:
    with pytest.raises(InvalidPageError) as caught, boundary(logging.getLogger("test")):
        raise InvalidPageError("page 'a': no image", "a")
    error = caught.value
    assert type(error).__name__ == "InvalidPageError"
    assert error.args == ("page 'a': no image", "a")
    assert ".py" not in as_jina_formats(error)


def test_unexpected_errors_are_logged_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EncodingError) as caught, boundary(logging.getLogger("test")):
        raise KeyError("/secret/path")
    assert "/secret/path" not in as_jina_formats(caught.value)
    assert "unexpected KeyError: '/secret/path'" in caplog.text
    assert "Traceback" in caplog.text


def test_a_cause_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    failure = EncodingError("page 'a': the model failed", "a")
    failure.__cause__ = RuntimeError("CUBLAS")
    with pytest.raises(EncodingError), boundary(logging.getLogger("test")):
        raise failure
    assert "CUBLAS" in caplog.text


def test_untraced_errors_can_be_raised_again() -> None:
    error = untraced(InvalidPageError("x"))
    with pytest.raises(InvalidPageError):
        raise error
    assert error.__traceback__ is None
