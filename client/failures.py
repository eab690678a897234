"""What jina and gRPC raise, to our own errors."""

from __future__ import annotations

from typing import Any

import grpc

from colpali_serve.schemas import (
    AuthenticationError,
    ColPaliError,
    OverloadedError,
    RemoteError,
    ServiceUnavailableError,
    TooLargeError,
    error_from_name,
)

_MAX_SHOWN = 200


class TryAgain(Exception):  # noqa: N818  (it is not an error yet)
    """A post failed in a way that may pass.

    Args:
        error: What to raise when the patience is used up.
    """

    def __init__(self, error: ColPaliError) -> None:
        super().__init__(error)
        self.error = error


def from_status(status: Any) -> ColPaliError:
    """Rebuild the error that an Executor or the gateway raised.

    Args:
        status: Jina's `StatusProto`. Of its exception only the name and the arguments are read:
            the server's stack, if it sent one, is nothing for a caller.
    """
    exception = status.exception
    arguments = [str(argument) for argument in exception.args]
    message = arguments[0] if arguments else _first_line(status.description)
    item = arguments[1] if len(arguments) > 1 else None
    return error_from_name(exception.name, message, item)


def from_call(error: BaseException, address: str, timeout_s: float | None) -> ColPaliError:
    """Translate a call that got no answer.

    Args:
        error: Raised by jina's client, with the `grpc.RpcError` as itself, cause or context.
        address: host:port, for the message.
        timeout_s: The post's deadline, for the message.

    Returns:
        `OverloadedError` for RESOURCE_EXHAUSTED, or `TooLargeError` where the message was,
        `AuthenticationError` for UNAUTHENTICATED, `ServiceUnavailableError` for a service that is
        down, stopped or late, `RemoteError` for the rest.
    """
    call = find_call(error)
    if call is None:
        return RemoteError(f"{address}: {type(error).__name__}: {_first_line(str(error))}")
    code = call.code()
    details = _first_line(call.details() or "")
    if code == grpc.StatusCode.UNAVAILABLE:
        # The last part is the operating system's own word, the rest is gRPC's way to it.
        reason = details.rpartition(": ")[2]
        return ServiceUnavailableError(f"no service at {address} ({reason}): {advice(address)}")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        limit = "in time" if timeout_s is None else f"within {timeout_s:g} s"
        return ServiceUnavailableError(
            f"the service at {address} did not answer {limit}: raise timeout_s, or send fewer "
            "pages per post (batch_pages)"
        )
    if code == grpc.StatusCode.CANCELLED:
        return ServiceUnavailableError(f"the service at {address} stopped before it answered")
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return AuthenticationError(f"{address}: {details}")
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return TooLargeError(
            f"the service at {address} takes no post as large as this one: send fewer pages per "
            "post (batch_pages)"
        )
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return OverloadedError(details or f"the service at {address} is overloaded")
    return RemoteError(f"{address}: gRPC {code.name}: {details}")


def advice(address: str) -> str:
    """Say what to do about a service that is not there."""
    port = address.rpartition(":")[2]
    return f"start one with 'colpali-serve serve --port {port}', or check host, port and TLS"


def find_call(error: BaseException) -> Any:
    """Return the failed gRPC call behind an error of jina's, or None."""
    seen: BaseException | None = error
    while seen is not None:
        # Jina replaces most of them by a plain ConnectionError while it handles them.
        if isinstance(seen, grpc.RpcError) and hasattr(seen, "code"):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."
