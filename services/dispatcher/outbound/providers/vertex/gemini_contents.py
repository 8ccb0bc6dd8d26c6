"""Messages as Gemini's contents. Reference: docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.

What was thought before goes back as signatures alone: a signature with the id of a call belongs to
that call, one without to the text of the answer.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, assert_never
from urllib.parse import urlsplit

import msgspec

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    Audio,
    Data,
    File,
    Image,
    Link,
    Part,
    Refused,
    Text,
    ToolResult,
    Video,
)
from services.dispatcher.domain.turns import AssistantTurn, Turn, UserTurn
from services.dispatcher.outbound.providers.vertex.gemini_models import Gemini
from shared.events.replies import ReasoningEncrypted

FORMAT: Final = "google-gemini-v1"
"""OpenRouter's name for reasoning that Gemini signed."""
FOREIGN_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google documents for calls that another model made, which have no signature of Gemini's."""

WirePart: TypeAlias = dict[str, Any]

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def contents(turns: Sequence[Turn], model: Gemini) -> list[WirePart] | Refused:
    """All turns, the user's and the model's."""
    written: list[WirePart] = []
    names: dict[str, str] = {}
    for turn in turns:
        match turn:
            case AssistantTurn():
                names |= {call.id: call.name for each in turn.messages for call in each.tool_calls}
                parts = [part for each in turn.messages for part in _said(each, model)]
                written.append({"role": "model", "parts": parts})
            case UserTurn():
                asked = _of_user(turn, names)
                if isinstance(asked, Refused):
                    return asked
                written.append({"role": "user", "parts": asked})
            case _:
                assert_never(turn)
    return written


def _said(said: AssistantMessage, model: Gemini) -> list[WirePart]:
    parts: list[WirePart] = [{"text": text.text} for text in said.parts]
    signatures = _signatures(said)
    if None in signatures:
        if not parts:
            parts.append({"text": ""})
        parts[-1]["thoughtSignature"] = signatures[None]
    for at, call in enumerate(said.tool_calls):
        part: WirePart = {
            "functionCall": {"name": call.name, "args": _decode_object(call.arguments)}
        }
        signature = signatures.get(call.id)
        if signature is None and at == 0 and model.signs_calls:
            signature = FOREIGN_SIGNATURE
        if signature is not None:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _signatures(said: AssistantMessage) -> dict[str | None, str]:
    """By the id of the call that they belong to; None is the text."""
    return {
        detail.id: detail.data
        for detail in said.reasoning
        if isinstance(detail, ReasoningEncrypted) and detail.format == FORMAT and detail.data
    }


def _of_user(turn: UserTurn, names: Mapping[str, str]) -> list[WirePart] | Refused:
    parts: list[WirePart] = []
    media: list[WirePart] = []
    for result in turn.results:
        texts = "".join(part.text for part in result.parts if isinstance(part, Text))
        shown = _parts([part for part in result.parts if not isinstance(part, Text)])
        if isinstance(shown, Refused):
            return shown
        parts.append(_answered(result, texts, names))
        media.extend(shown)
    said = _parts(turn.parts)
    return said if isinstance(said, Refused) else parts + media + said


def _answered(result: ToolResult, text: str, names: Mapping[str, str]) -> WirePart:
    """What a function answered: Gemini wants an object, so a text that is none becomes `output`."""
    try:
        response = _decode_object(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        response = {"output": text}
    name = names.get(result.tool_call_id) or result.name or result.tool_call_id
    return {"functionResponse": {"name": name, "response": response}}


def _parts(parts: Sequence[Part]) -> list[WirePart] | Refused:
    written: list[WirePart] = []
    for part in parts:
        told = _part(part)
        if isinstance(told, Refused):
            return told
        written.append(told)
    return written


def _part(part: Part) -> WirePart | Refused:
    match part:
        case Text():
            return {"text": part.text}
        case Image() | File() | Audio() | Video():
            return _media(part)
        case _:
            assert_never(part)


def _media(part: Image | File | Audio | Video) -> WirePart | Refused:
    """Content, or the address where Google fetches it, which wants to be told what is there."""
    source = part.source
    match source:
        case Data():
            return {"inlineData": {"mimeType": source.media_type, "data": source.base64}}
        case Link():
            told = mimetypes.guess_type(urlsplit(source.url).path)[0]
            if told is None:
                return Refused(part.path, "its address does not end as a known type; send the data")
            return {"fileData": {"mimeType": told, "fileUri": source.url}}
        case _:
            assert_never(source)
