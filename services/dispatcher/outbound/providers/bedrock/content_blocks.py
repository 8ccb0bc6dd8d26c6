"""Messages as Converse's content blocks.

Reference: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html. Bytes are
given as bytes: botocore writes them in base64.
"""

import binascii
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from services.dispatcher.domain.conversation import (
    AssistantMessage,
    Audio,
    CacheMark,
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
from services.dispatcher.outbound.providers.anthropic.content_blocks import FORMAT
from services.dispatcher.outbound.providers.bedrock.models import Model
from shared.events.replies import ReasoningDetail, ReasoningEncrypted, ReasoningText

Block: TypeAlias = dict[str, Any]

TOOL_USE_ID_CHARACTERS_MAX: Final = 64
DOCUMENT_NAME_CHARACTERS_MAX: Final = 200

_IMAGES: Final = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_VIDEOS: Final = {
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
}
_ABOUT_THE_DOCUMENT: Final = "This is the document."
"""Converse wants a text beside a document."""
_NO_LINKS: Final = "Amazon Bedrock takes content inside the request only, no links"
_FOREIGN_TO_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")
_FOREIGN_TO_NAMES: Final = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class BlockWriter:
    """Writes one request's blocks; documents get a name each, which must not be there twice."""

    def __init__(self, model: Model) -> None:
        """`model` says whether cache points are taken, and whose signatures are."""
        self._model = model
        self._document_names: set[str] = set()

    def message(self, turn: Turn) -> Block | Refused:
        """One message of the request."""
        if isinstance(turn, AssistantTurn):
            blocks = [block for each in turn.messages for block in self._said(each)]
            return {"role": "assistant", "content": blocks}
        told = self._of_user(turn)
        return told if isinstance(told, Refused) else {"role": "user", "content": told}

    def texts(self, texts: Sequence[Text]) -> list[Block]:
        """Blocks of text with their cache points."""
        return [block for text in texts for block in ({"text": text.text}, *self.point(text.cache))]

    def point(self, mark: CacheMark | None) -> list[Block]:
        """The cache point behind what is marked."""
        if mark is None or not self._model.caches:
            return []
        point = {"type": "default"}
        if mark.ttl is not None and self._model.caches_for_an_hour:
            point["ttl"] = mark.ttl
        return [{"cachePoint": point}]

    def _of_user(self, turn: UserTurn) -> list[Block] | Refused:
        blocks: list[Block] = []
        for result in turn.results:
            told = self._result(result)
            if isinstance(told, Refused):
                return told
            blocks.extend(told)
        for part in turn.parts:
            block = self._part(part)
            if isinstance(block, Refused):
                return block
            blocks += [block, *self.point(part.cache)]
        if any("document" in block for block in blocks) and not any("text" in b for b in blocks):
            blocks.append({"text": _ABOUT_THE_DOCUMENT})
        return blocks

    def _result(self, result: ToolResult) -> list[Block] | Refused:
        content: list[Block] = []
        mark: CacheMark | None = None
        for part in result.parts:
            mark = part.cache or mark
            if isinstance(part, Text) and not part.text.strip():
                continue
            block = self._part(part)
            if isinstance(block, Refused):
                return block
            content.append(block)
        told = {"toolUseId": tool_use_id(result.tool_call_id), "content": content}
        return [{"toolResult": told}, *self.point(mark)]

    def _part(self, part: Part) -> Block | Refused:
        match part:
            case Text():
                return {"text": part.text}
            case Image():
                return _media("image", _IMAGES, part)
            case Video():
                return _media("video", _VIDEOS, part)
            case File():
                return self._file(part)
            case Audio():
                return Refused(part.path, "Amazon Bedrock's Converse takes no recordings")
            case _:
                assert_never(part)

    def _file(self, file: File) -> Block | Refused:
        source = file.source
        if isinstance(source, Link):
            return Refused(file.path, _NO_LINKS)
        if source.media_type in _IMAGES:
            return _media("image", _IMAGES, file)
        form = _DOCUMENTS.get(source.media_type)
        if form is None and source.media_type.startswith("text/"):
            form = "txt"
        if form is None:
            return Refused(file.path, f"Amazon Bedrock takes documents as {', '.join(_KNOWN)}")
        name = self._document_name(file.filename or "")
        return {"document": {"format": form, "name": name, "source": {"bytes": source.content}}}

    def _document_name(self, filename: str) -> str:
        """A name of the characters that are allowed, told apart by a number."""
        plain = _FOREIGN_TO_NAMES.sub(" ", filename).strip()[:DOCUMENT_NAME_CHARACTERS_MAX].strip()
        name = plain = plain or "document"
        number = 1
        while name in self._document_names:
            number += 1
            name = f"{plain} {number}"
        self._document_names.add(name)
        return name

    def _said(self, said: AssistantMessage) -> list[Block]:
        blocks: list[Block] = []
        if self._model.claude is not None:
            blocks += [block for each in said.reasoning if (block := _thought(each)) is not None]
        blocks += self.texts(said.parts)
        for call in said.tool_calls:
            told = {
                "toolUseId": tool_use_id(call.id),
                "name": call.name,
                "input": _decode_object(call.arguments),
            }
            blocks.append({"toolUse": told})
        return blocks


_KNOWN: Final = tuple(_DOCUMENTS.values())


def tool_use_id(call_id: str) -> str:
    """The id of a call, of which another provider may have used characters, or more, than is allowed."""
    return _FOREIGN_TO_IDS.sub("_", call_id)[-TOOL_USE_ID_CHARACTERS_MAX:]


def _media(kind: str, forms: dict[str, str], part: Image | Video | File) -> Block | Refused:
    source = part.source
    if isinstance(source, Link):
        return Refused(part.path, _NO_LINKS)
    form = forms.get(source.media_type)
    if form is None:
        return Refused(part.path, f"Amazon Bedrock takes it as {', '.join(forms.values())}")
    return {kind: {"format": form, "source": {"bytes": source.content}}}


def _thought(detail: ReasoningDetail) -> Block | None:
    """A block of thinking, unchanged; None for what another provider signed, or nobody did."""
    if detail.format not in {FORMAT, None}:
        return None
    match detail:
        case ReasoningText(signature=str(signature)) if signature:
            told = {"text": detail.text or "", "signature": signature}
            return {"reasoningContent": {"reasoningText": told}}
        case ReasoningEncrypted(data=str(data)) if data:
            try:
                content = binascii.a2b_base64(data, strict_mode=True)
            except (binascii.Error, ValueError):
                return None
            return {"reasoningContent": {"redactedContent": content}}
        case _:
            return None
