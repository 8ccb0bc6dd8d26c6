"""Embeddings as OpenAI's JSON with OpenRouter's additions."""

import sys
from array import array
from base64 import b64decode
from collections.abc import Iterator

import msgspec

from services.ingress.inbound.http.openai_wire import cost_fields
from shared.events.replies import ReplyCompleted, ReplyUsage

_encode = msgspec.json.Encoder().encode


def pieces(
    generation_id: str,
    completed: ReplyCompleted,
    *,
    as_base64: bool,
    openrouter_metadata: msgspec.Raw | None,
) -> Iterator[bytes]:
    """The body, a vector at a time."""
    yield b'{"object":"list","data":['
    for at, vector in enumerate(completed.vectors):
        comma = b"," if at else b""
        embedding = _encode(vector if as_base64 else numbers(vector))
        yield b'%s{"object":"embedding","index":%d,"embedding":%s}' % (comma, at, embedding)
    rest: dict[str, object] = {
        "model": completed.model,
        "provider": completed.provider_name,
        "id": generation_id,
        "usage": usage_json(completed.usage),
    }
    if openrouter_metadata is not None:
        rest["openrouter_metadata"] = openrouter_metadata
    yield b"]," + _encode(rest)[1:]


def numbers(vector: str) -> list[float]:
    """The numbers of a vector that travelled as little-endian 32 bit floats in base64."""
    values = array("f", b64decode(vector))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def usage_json(usage: ReplyUsage) -> msgspec.Raw:
    """`usage` of embeddings, which have a prompt and no completion."""
    text = (
        f'{{"prompt_tokens":{usage.prompt_tokens}'
        f',"total_tokens":{usage.prompt_tokens + usage.completion_tokens}'
        f",{cost_fields(usage)}}}"
    )
    return msgspec.Raw(text.encode())
