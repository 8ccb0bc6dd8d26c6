"""The body of a rawPredict of Claude: Anthropic's, with a version in it and the model in the path."""

from typing import Any, Final

import msgspec

from tests.simulator import anthropic_request
from tests.simulator.anthropic_request import TranslatedRequest
from tests.simulator.errors import Cause, RequestRefused

VERSIONS: Final = {"vertex-2023-10-16": "2023-06-01", "2026-10-21": "2026-10-21"}
"""Google's documented one, and the one that Anthropic's SDK sends since 2.x: what each is elsewhere."""


def claude_of(model: str) -> str:
    """Anthropic's own name of a model of Vertex AI: `claude-haiku-4-5@20251001`."""
    return model.replace("@", "-")


def decode(body: bytes, model: str, *, streamed: bool) -> TranslatedRequest:
    """Read a body; raises RequestRefused."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise _invalid("The request body is not valid JSON") from problem
    version = VERSIONS.get(fields.pop("anthropic_version", ""))
    if version is None:
        raise _invalid("anthropic_version: Field required")
    if "model" in fields:
        raise _invalid("model: Extra inputs are not permitted")
    if "service_tier" in fields:
        raise _invalid("service_tier: Extra inputs are not permitted")
    if bool(fields.get("stream")) is not streamed:
        raise _invalid("stream: does not go with the method")
    named = msgspec.json.encode({**fields, "model": claude_of(model)})
    request = anthropic_request.decode(named)
    anthropic_request.refuse_for_version(request, version)
    return request


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)
