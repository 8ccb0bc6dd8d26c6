"""The operations there are, and the reading of their requests."""

from typing import TypeAlias, assert_never

from services.dispatcher.domain.embedding import EmbeddingRequest, read_embedding_request
from services.dispatcher.domain.request import ChatRequest, UnreadableRequest, read_request
from shared.events.completions import CompletionRequested

AnyRequest: TypeAlias = ChatRequest | EmbeddingRequest


def read_operation(asked: CompletionRequested, body: bytes) -> AnyRequest | UnreadableRequest:
    """Read the opened body of what was asked for."""
    match asked.operation:
        case "chat":
            return read_request(body, anthropic_betas=asked.anthropic_betas)
        case "embeddings":
            return read_embedding_request(body)
        case _:
            assert_never(asked.operation)
