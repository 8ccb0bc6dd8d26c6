"""The body of a rawPredict of Claude: Anthropic's, with a version in it and the model in the path."""

from typing import Any, Final

import msgspec

from tests.simulator import anthropic_request
from tests.simulator.anthropic_request import TranslatedRequest
from tests.simulator.errors import Cause, RequestRefused

VERSION: Final = "vertex-2023-10-16"


def claude_of(model: str) -> str:
    """Anthropic's own name of a model of Vertex AI: `claude-haiku-4-5@20251001`."""
    return model.replace("@", "-")


def decode(body: bytes, model: str, *, streamed: bool) -> TranslatedRequest:
    """Read a body; raises RequestRefused."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid("The request body is not valid JSON") from problem
    if fields.pop("anthropic_version", None) != VERSION:
        raise _invalid("anthropic_version: Field required")
    if "model" in fields:
        raise _invalid("model: Extra inputs are not permitted")
    if "service_tier" in fields:
        raise _invalid("service_tier: Extra inputs are not permitted")
    if bool(fields.get("stream")) is not streamed:
        raise _invalid("stream: does not go with the method")
    return anthropic_request.decode(msgspec.json.encode({**fields, "model": claude_of(model)}))


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)
