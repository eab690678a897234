"""What Jina's gateway says by itself, without what is nobody's business."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from jina.proto import jina_pb2
from jina.serve.runtimes.gateway.request_handling import GatewayRequestHandler
from jina.types.request.data import SingleDocumentRequest

from colpali_serve.gateway.redaction import redact_status, write_status
from colpali_serve.gateway.versions import package_versions
from colpali_serve.schemas import InvalidInputError


class DiscreetRequestHandler(GatewayRequestHandler):  # type: ignore[misc]
    """Jina's request handler, whose answers to all but requests tell nothing of the server."""

    async def stream_doc(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Refuse to stream one document's answers: no endpoint of this project does so.

        Args:
            request: The request, with one document.
            context: gRPC's context.

        Yields:
            One response, an error.
        """
        endpoint = request.header.exec_endpoint
        response = SingleDocumentRequest()
        write_status(
            response.header.status,
            InvalidInputError(
                f"endpoint {endpoint!r} does not stream documents, expected a post", endpoint
            ),
        )
        yield response

    async def dry_run(self, empty: Any, context: Any) -> Any:
        """Send an empty request through the whole Flow.

        Args:
            empty: No content.
            context: gRPC's context.

        Returns:
            The status, redacted where it is an error.
        """
        status = await super().dry_run(empty, context)
        if full := redact_status(status):
            self.logger.error(f"dry run failed in {full}")
        return status

    async def _status(self, empty: Any, context: Any) -> Any:
        # Jina's answer holds its environment variables and the machine's hardware address.
        info = jina_pb2.JinaInfoProto()
        for name, text in package_versions().items():
            info.jina[name] = text
        return info
