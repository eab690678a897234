"""What one caller and one request may take, on either door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from colpali_serve.gateway.keys import ANYBODY
from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import OverloadedError, TimeLimitError, TooLargeError


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from; each door says so before the request is looked at.

    Attributes:
        name: Of its key.
        door: "grpc" or "http"; "probe" for the gateway's own requests.
        counted: Whether the door has counted the request already, as HTTP's does before it
            reads the body.
    """

    name: str = ANYBODY
    door: str = "grpc"
    counted: bool = False


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  (it is frozen)
"""Of the request that is handled; whatever is started for it inherits this."""


class Limits:
    """Counts requests and refuses those that are too many or too large.

    Args:
        settings: The bounds.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._running: Counter[str] = Counter()
        self._held_bytes = 0

    @contextmanager
    def slot(self, name: str) -> Iterator[None]:
        """Count a request of a caller while the block runs.

        Raises:
            OverloadedError: The caller has too many under way.

        >>> limits = Limits(GatewaySettings(max_concurrent=1))
        >>> with limits.slot("ci"), limits.slot("ci"):
        ...     pass
        Traceback (most recent call last):
        ...
        colpali_serve.schemas.errors.OverloadedError: caller 'ci' has 1 requests under way, \
expected at most 1 at a time; try again later
        """
        most = self.settings.max_concurrent
        if self._running[name] >= most:
            raise OverloadedError(
                f"caller {name!r} has {self._running[name]} requests under way, expected at most "
                f"{most} at a time; try again later"
            )
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Count the bytes of a request while the block runs."""
        held = Held(self)
        try:
            yield held
        finally:
            self._held_bytes -= held.size

    def hold(self, size: int) -> None:
        """Count bytes; `Held` gives them back.

        Raises:
            OverloadedError: All requests together have too many.
        """
        most = self.settings.max_held_mb * 1024**2
        if self._held_bytes + size > most:
            raise OverloadedError(
                f"the requests under way have {self._held_bytes} bytes, expected at most {most}; "
                "try again later"
            )
        self._held_bytes += size

    def check_bytes(self, size: int) -> None:
        """Refuse a body that is too large.

        Raises:
            TooLargeError: It is.
        """
        most = self.settings.max_request_bytes
        if size > most:
            raise TooLargeError(
                f"the request has {size} bytes or more, expected at most {most}; send it in parts"
            )

    def check_pages(self, count: int) -> None:
        """Refuse a request of too many pages.

        Raises:
            TooLargeError: It has.
        """
        most = self.settings.max_pages
        if count > most:
            raise TooLargeError(
                f"the request has {count} pages, expected at most {most}; send it in parts"
            )

    def too_slow(self) -> TimeLimitError:
        """Build the error of a request that took too long."""
        return TimeLimitError(
            f"the request took longer than {self.settings.time_limit_s:g} s, expected less; send "
            "fewer items, or try again later"
        )


class Held:
    """Bytes of one request.

    Args:
        limits: Where they are counted.

    Attributes:
        size: Bytes so far.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.size = 0

    def add(self, size: int) -> None:
        """Count more of them.

        Raises:
            TooLargeError: The request has too many.
            OverloadedError: All requests together have.
        """
        self._limits.check_bytes(self.size + size)
        self._limits.hold(size)
        self.size += size
