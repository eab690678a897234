"""A post as one message of Jina's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colpali_serve.schemas import wire


def request_message(endpoint: str, documents: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
    """Write a request with documents.

    Args:
        endpoint: For example ``/embed_images``.
        documents: Of one class.
        parameters: None values are left out.

    Returns:
        Jina's `DataRequest`, as it is when it has come over the wire: bytes that nobody has read.
    """
    from jina.helper import random_identity
    from jina.proto import jina_pb2
    from jina.types.request.data import DataRequest

    head = jina_pb2.DataRequestProto()
    head.header.request_id = random_identity()
    head.header.exec_endpoint = endpoint
    given = {name: value for name, value in parameters.items() if value is not None}
    if given:
        head.parameters.update(given)
    content = wire.Message()
    content.add(wire.number_of("docs", head.data.DESCRIPTOR), wire.documents(documents))
    message = wire.Message()
    message.append(head.SerializeToString())
    message.add(wire.number_of("data", head.DESCRIPTOR), content)
    return DataRequest(bytes(message))
