"""The operations there are, and the reading of their requests."""

from typing import TypeAlias, assert_never

from services.dispatcher.domain.embedding import EmbeddingRequest, read_embedding_request
from services.dispatcher.domain.request import ChatRequest, UnreadableRequest, read_request
from shared.events.generations import Operation

AnyRequest: TypeAlias = ChatRequest | EmbeddingRequest


def read_operation(operation: Operation, body: bytes) -> AnyRequest | UnreadableRequest:
    """Read the opened body of a request for an operation."""
    match operation:
        case "chat":
            return read_request(body)
        case "embeddings":
            return read_embedding_request(body)
        case _:
            assert_never(operation)
