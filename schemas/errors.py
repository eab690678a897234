"""Error classes shared by the service and its clients.

An error names the item, the value that was met and what was expected, for example
``page 'a': image is 0x0, expected at least 1x1``. The class name and the message are all
that crosses the wire, so a message never holds a path or a traceback of the server.
"""

from __future__ import annotations


class ColPaliError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        message: What was wrong and what was expected, in one sentence.
        item: Id of the page, query or setting that is at fault, if one is.
    """

    def __init__(self, message: str, item: str | None = None) -> None:
        # Jina sends `args` as strings, so the item travels only where there is one.
        super().__init__(*([message] if item is None else [message, item]))

    @property
    def message(self) -> str:
        """What was wrong and what was expected."""
        return str(self.args[0])

    @property
    def item(self) -> str | None:
        """Id of the page, query or setting that is at fault, or None."""
        return str(self.args[1]) if len(self.args) > 1 else None

    def __str__(self) -> str:
        return self.message


class ConfigError(ColPaliError):
    """A setting has a value that the service cannot work with."""


class ModelLoadError(ColPaliError):
    """A checkpoint could not be found, loaded or proved."""


class InvalidInputError(ColPaliError):
    """The caller sent something that cannot be processed."""


class InvalidPageError(InvalidInputError):
    """A page's image is missing, broken, too large or of an unknown format."""


class InvalidQueryError(InvalidInputError):
    """A query is missing, empty or too long."""


class EmbeddingShapeError(InvalidInputError):
    """An embedding has the wrong shape, dtype or values that are not finite."""


class EncodingError(ColPaliError):
    """The model failed on an input that had passed every check."""


class OverloadedError(ColPaliError):
    """The service has no room for more work now; try again later."""


class ServiceUnavailableError(ColPaliError):
    """Client side: the service could not be reached, or did not answer in time."""


class TimeLimitError(ServiceUnavailableError):
    """A request took longer than the service allows."""


class AuthenticationError(ColPaliError):
    """The service wants an API key, and the request has none or a wrong one."""


class TooLargeError(InvalidInputError):
    """A request has more bytes or pages than the service takes."""


class RemoteError(ColPaliError):
    """Client side: the service failed in a way that has no class of its own here."""


_CLASSES: tuple[type[ColPaliError], ...] = (
    ConfigError,
    ModelLoadError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    EmbeddingShapeError,
    EncodingError,
    OverloadedError,
    ServiceUnavailableError,
    TimeLimitError,
    AuthenticationError,
    TooLargeError,
)
_MAX_ID_SHOWN = 100
_BY_NAME = {cls.__name__: cls for cls in _CLASSES}


def error_from_name(name: str, message: str, item: str | None = None) -> ColPaliError:
    """Rebuild an error from what crossed the wire.

    Args:
        name: Class name as the server sent it.
        message: The message that came with it.
        item: Id of the item at fault, if the server sent one.

    Returns:
        An instance of the class of that name, or a `RemoteError` for any other name.

    >>> error_from_name("InvalidPageError", "page 'a': no image", "a")
    InvalidPageError("page 'a': no image", 'a')
    >>> error_from_name("KeyError", "boom")
    RemoteError('KeyError: boom')
    """
    cls = _BY_NAME.get(name)
    if cls is None:
        return RemoteError(f"{name}: {message}" if name else message, item)
    return cls(message, item)


def owner(kind: str, item: str) -> str:
    """Return how messages call an item: short, and on one line whatever its id holds.

    >>> owner("page", "a")
    "page 'a'"
    >>> len(owner("page", "x" * 10_000))
    110
    """
    shown = item if len(item) <= _MAX_ID_SHOWN else item[:_MAX_ID_SHOWN] + "..."
    return f"{kind} {shown!r}"


def describe(error: ColPaliError) -> str:
    """Return the form in which an error stands in a document's `error` field.

    >>> describe(InvalidPageError("page 'a': no image", "a"))
    "InvalidPageError: page 'a': no image"
    """
    return f"{type(error).__name__}: {error.message}"
