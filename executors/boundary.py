"""What a caller gets to see of a failure: the typed error, and nothing of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from colpali_serve.schemas import ColPaliError, EncodingError


class _Untraced:
    """Hides an exception's traceback from Jina, which would send its file names to the caller.

    The interpreter's own record of the traceback, which log handlers print, is not touched.
    """

    @property
    def __traceback__(self) -> None:
        return None

    @__traceback__.setter
    def __traceback__(self, value: object) -> None:
        """Accept what contextlib and asyncio set."""


def untraced(error: ColPaliError) -> ColPaliError:
    """Return the same error, of the same class name, fit to cross the wire."""
    cls = type(error)
    quiet: type[Any] = type(cls.__name__, (_Untraced, cls), {"__module__": cls.__module__})
    result: ColPaliError = quiet(*error.args)
    return result


@contextmanager
def boundary(logger: Any) -> Iterator[None]:
    """Let typed errors through, log every other one and send a plain `EncodingError` instead.

    Args:
        logger: The Executor's logger.

    Raises:
        ColPaliError: Without a traceback, cause or context.
    """
    try:
        yield
    except ColPaliError as error:
        if error.__cause__ is not None:
            logger.error(f"{error!r}", exc_info=error.__cause__)
        raise untraced(error) from None
    except Exception as error:
        logger.error(f"unexpected {type(error).__name__}: {error}", exc_info=True)
        failure = EncodingError("the service failed on this request; its log has the details")
        raise untraced(failure) from None
