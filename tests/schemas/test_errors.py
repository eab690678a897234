"""Errors cross the wire by name."""

from __future__ import annotations

import pickle

from colpali_serve.schemas import (
    ColPaliError,
    InvalidPageError,
    RemoteError,
    error_from_name,
    errors,
)

# A server says that it is shutting down, too.
CLIENT_ONLY = {"ColPaliError", "RemoteError"}
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ColPaliError)
]


def test_every_server_side_class_comes_back_as_itself() -> None:
    assert len(CLASSES) > 8
    for cls in CLASSES:
        back = error_from_name(cls.__name__, "why", "a")
        assert back.item == "a"
        if cls.__name__ in CLIENT_ONLY:
            assert back.message == f"{cls.__name__}: why"
        else:
            assert type(back) is cls
            assert back.message == "why"


def test_other_names_become_remote_errors() -> None:
    assert isinstance(error_from_name("KeyError", "boom"), RemoteError)


def test_pickling_keeps_message_and_item() -> None:
    back = pickle.loads(pickle.dumps(InvalidPageError("page 'a': no image", "a")))
    assert (str(back), back.item) == ("page 'a': no image", "a")
