"""Messages as Anthropic's content blocks. Reference: platform.claude.com/docs/en/api/messages."""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, assert_never

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    Audio,
    CacheMark,
    Data,
    File,
    Image,
    Link,
    Part,
    Refused,
    Source,
    Text,
    ToolResult,
    Video,
)
from services.dispatcher.domain.turns import AssistantTurn, Turn, UserTurn
from shared.events.replies import (
    ReasoningDetail,
    ReasoningEncrypted,
    ReasoningSummary,
    ReasoningText,
)

FORMAT: Final = "anthropic-claude-v1"
"""OpenRouter's name for reasoning that Claude signed, wherever it runs."""

Block: TypeAlias = dict[str, Any]

_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF: Final = "application/pdf"
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")


def cache_control(mark: CacheMark) -> Block:
    """The mark of a block, a tool or a request."""
    return {"type": "ephemeral"} if mark.ttl is None else {"type": "ephemeral", "ttl": mark.ttl}


def message(turn: Turn, *, takes_links: bool) -> Block | Refused:
    """One message of the request."""
    if isinstance(turn, AssistantTurn):
        blocks = [block for each in turn.messages for block in _said(each)]
        return {"role": "assistant", "content": blocks}
    said = _blocks_of_user(turn, takes_links=takes_links)
    return said if isinstance(said, Refused) else {"role": "user", "content": said}


def text_block(text: Text) -> Block:
    """A block of text."""
    return _marked({"type": "text", "text": text.text}, text.cache)


def _blocks_of_user(turn: UserTurn, *, takes_links: bool) -> list[Block] | Refused:
    blocks: list[Block] = []
    for result in turn.results:
        block = _result(result, takes_links=takes_links)
        if isinstance(block, Refused):
            return block
        blocks.append(block)
    said = _parts(turn.parts, takes_links=takes_links)
    return said if isinstance(said, Refused) else blocks + said


def _result(result: ToolResult, *, takes_links: bool) -> Block | Refused:
    parts = [part for part in result.parts if not isinstance(part, Text) or part.text.strip()]
    content = _parts(parts, takes_links=takes_links)
    if isinstance(content, Refused):
        return content
    block: Block = {"type": "tool_result", "tool_use_id": tool_use_id(result.tool_call_id)}
    if content:
        mark = content[-1].pop("cache_control", None)
        block["content"] = content
        if mark is not None:
            block["cache_control"] = mark
    return block


def _parts(parts: Sequence[Part], *, takes_links: bool) -> list[Block] | Refused:
    blocks: list[Block] = []
    for part in parts:
        block = _part(part, takes_links=takes_links)
        if isinstance(block, Refused):
            return block
        blocks.append(_marked(block, part.cache))
    return blocks


def _part(part: Part, *, takes_links: bool) -> Block | Refused:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return _image(part.source, part.path, takes_links=takes_links)
        case File():
            return _file(part, takes_links=takes_links)
        case Audio() | Video():
            return Refused(part.path, "Claude takes text, images and documents only")
        case _:
            assert_never(part)


def _image(source: Source, path: str, *, takes_links: bool) -> Block | Refused:
    if isinstance(source, Data) and source.media_type not in _IMAGES:
        return Refused(path, "Claude takes images as JPEG, PNG, GIF or WebP")
    told = _source(source, path, takes_links=takes_links)
    return told if isinstance(told, Refused) else {"type": "image", "source": told}


def _file(file: File, *, takes_links: bool) -> Block | Refused:
    source = file.source
    if isinstance(source, Data) and source.media_type in _IMAGES:
        return _image(source, file.path, takes_links=takes_links)
    told: Block | Refused
    if isinstance(source, Data) and source.media_type.startswith("text/"):
        try:
            text = source.content.decode()
        except UnicodeDecodeError:
            return Refused(file.path, "a text must be UTF-8")
        told = {"type": "text", "media_type": "text/plain", "data": text}
    elif isinstance(source, Data) and source.media_type != _PDF:
        return Refused(file.path, "Claude takes documents as PDF or plain text")
    else:
        told = _source(source, file.path, takes_links=takes_links)
    if isinstance(told, Refused):
        return told
    block: Block = {"type": "document", "source": told}
    if file.filename:
        block["title"] = file.filename
    return block


def _source(source: Source, path: str, *, takes_links: bool) -> Block | Refused:
    match source:
        case Data():
            return {"type": "base64", "media_type": source.media_type, "data": source.base64}
        case Link():
            if not takes_links:
                return Refused(path, "this provider takes data URLs only")
            return {"type": "url", "url": source.url}
        case _:
            assert_never(source)


def _said(said: AssistantMessage) -> list[Block]:
    blocks = [block for detail in said.reasoning if (block := _thought(detail)) is not None]
    blocks.extend(text_block(text) for text in said.parts)
    blocks.extend(
        {
            "type": "tool_use",
            "id": tool_use_id(call.id),
            "name": call.name,
            "input": call.arguments,
        }
        for call in said.tool_calls
    )
    return blocks


def _thought(detail: ReasoningDetail) -> Block | None:
    """A block of thinking, unchanged; None for what another provider signed, or nobody did."""
    if detail.format not in {FORMAT, None}:
        return None
    match detail:
        case ReasoningText(signature=str(signature)) if signature:
            return {"type": "thinking", "thinking": detail.text or "", "signature": signature}
        case ReasoningEncrypted(data=str(data)) if data:
            return {"type": "redacted_thinking", "data": data}
        case ReasoningText() | ReasoningEncrypted() | ReasoningSummary():
            return None
        case _:
            assert_never(detail)


def tool_use_id(call_id: str) -> str:
    """The id of a call, of which another provider may have used characters that are refused here."""
    return _FOREIGN.sub("_", call_id)


def _marked(block: Block, mark: CacheMark | None) -> Block:
    return block if mark is None else {**block, "cache_control": cache_control(mark)}
