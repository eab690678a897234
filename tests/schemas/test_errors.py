"""Errors cross the wire by name."""

from __future__ import annotations

import pickle

from colpali_serve.schemas import ColPaliError, InvalidPageError, RemoteError, error_from_name


def every_class(base: type[ColPaliError]) -> set[type[ColPaliError]]:
    return {base}.union(*(every_class(child) for child in base.__subclasses__()))


def test_every_server_side_class_comes_back_as_itself() -> None:
    client_only = {"ColPaliError", "ServiceUnavailableError", "RemoteError"}
    for cls in every_class(ColPaliError):
        back = error_from_name(cls.__name__, "why", "a")
        assert back.message == (
            "why" if cls.__name__ not in client_only else f"{cls.__name__}: why"
        )
        assert back.item == "a"
        if cls.__name__ not in client_only:
            assert type(back) is cls


def test_other_names_become_remote_errors() -> None:
    assert isinstance(error_from_name("KeyError", "boom"), RemoteError)


def test_pickling_keeps_message_and_item() -> None:
    back = pickle.loads(pickle.dumps(InvalidPageError("page 'a': no image", "a")))
    assert (str(back), back.item) == ("page 'a': no image", "a")
