"""The messages of a Converse request: roles, blocks, and tool results behind their calls."""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.simulator.anthropic_messages import SIGNATURE
from tests.simulator.errors import Cause, RequestRefused

_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DOCUMENT_NAME: Final = re.compile(r"[a-zA-Z0-9()\[\]-]+(?: [a-zA-Z0-9()\[\]-]+)*")
_FORMATS: Final[Mapping[str, frozenset[str]]] = {
    "image": frozenset({"png", "jpeg", "gif", "webp"}),
    "document": frozenset({"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}),
    "video": frozenset({"mkv", "mov", "mp4", "webm", "mpeg", "mpg"}),
}
_SIDES: Final = {
    "user": frozenset({"text", "image", "document", "video", "toolResult", "cachePoint"}),
    "assistant": frozenset({"text", "toolUse", "reasoningContent", "cachePoint"}),
}
_IN_RESULTS: Final = frozenset({"text", "json", "image", "document", "video"})


def check_system(system: Sequence[dict[str, Any]]) -> None:
    """Raise RequestRefused unless it is text and cache points."""
    for block in system:
        _check_block(block, "system", frozenset({"text", "cachePoint"}))


def check_messages(messages: Sequence[dict[str, Any]], model: str) -> None:
    """Raise RequestRefused for what Bedrock does not take."""
    if not messages:
        raise _invalid("The request must have at least one message.")
    open_calls: list[str] = []
    names: list[str] = []
    for at, message in enumerate(messages):
        if message.keys() != {"role", "content"} or message["role"] not in _SIDES:
            raise _invalid(f"messages.{at}: role must be user or assistant")
        if at == 0 and message["role"] != "user":
            raise _invalid("A conversation must start with a user message.")
        if at and message["role"] == messages[at - 1]["role"]:
            raise _invalid("A conversation must alternate between user and assistant roles.")
        open_calls = _check_content(message, at, open_calls, names)
    if len(names) != len(set(names)):
        raise _invalid("Messages contain documents with duplicate names")
    if messages[-1]["role"] == "assistant":
        last = messages[-1]["content"][-1].get("text", "")
        if last != last.rstrip():
            raise _invalid("final assistant content cannot end with trailing whitespace")
    if not model.startswith(("anthropic.", "amazon.")) and any(
        "cachePoint" in block for message in messages for block in message["content"]
    ):
        raise _invalid(
            "You invoked an unsupported model or your request did not allow prompt caching."
        )


def _check_content(
    message: dict[str, Any], at: int, open_calls: list[str], names: list[str]
) -> list[str]:
    """The ids of the tool calls that the next message must answer."""
    content = message["content"]
    if not isinstance(content, list) or not content:
        raise _invalid(f"The content field in the Message object at messages.{at} is empty.")
    for place, block in enumerate(content):
        _check_block(block, f"messages.{at}.content.{place}", _SIDES[message["role"]])
    documents = [block["document"]["name"] for block in content if "document" in block]
    names += documents
    if documents and not any("text" in block for block in content):
        raise _invalid("A text block must be included with a document.")
    answered = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
    if sorted(answered) != sorted(open_calls):
        raise _invalid(
            f"Expected toolResult blocks at messages.{at}.content for the following Ids: "
            f"{', '.join(open_calls)}"
        )
    return [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]


def _check_block(block: Any, path: str, allowed: frozenset[str]) -> None:
    if not isinstance(block, dict) or len(block) != 1 or min(block) not in allowed:
        raise _invalid(
            f"ContentBlock object at {path} must set one of the following keys: {allowed}"
        )
    ((kind, told),) = block.items()
    match kind:
        case "text":
            if not isinstance(told, str) or not told.strip():
                raise _invalid(f"The text field in the ContentBlock object at {path} is blank.")
        case "cachePoint":
            if told.get("type") != "default" or told.get("ttl", "5m") not in {"5m", "1h"}:
                raise _invalid(f"{path}.cachePoint is invalid")
        case "image" | "document" | "video":
            _check_media(kind, told, path)
        case "toolUse":
            _check_use(told, path)
        case "toolResult":
            _check_result(told, path)
        case "reasoningContent":
            _check_reasoning(told, path)
        case _:
            pass


def _check_media(kind: str, told: dict[str, Any], path: str) -> None:
    wanted = {"format", "source"} | ({"name"} if kind == "document" else set())
    if told.keys() != wanted or told["format"] not in _FORMATS[kind]:
        raise _invalid(f"{path}.{kind}: failed to satisfy constraint: {sorted(_FORMATS[kind])}")
    if kind == "document" and _DOCUMENT_NAME.fullmatch(told["name"]) is None:
        raise _invalid(
            "The document file name can only contain alphanumeric characters, whitespace characters, "
            "hyphens, parentheses, and square brackets."
        )
    if told["source"].keys() != {"bytes"}:
        raise _invalid(f"{path}.{kind}.source must set one of bytes, s3Location")
    try:
        binascii.a2b_base64(told["source"]["bytes"], strict_mode=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"{path}.{kind}.source.bytes: invalid base64 data") from None


def _check_use(told: dict[str, Any], path: str) -> None:
    if told.keys() != {"toolUseId", "name", "input"} or not isinstance(told["input"], dict):
        raise _invalid(f"The format of the value at {path}.toolUse.input is invalid.")
    _check_id(told["toolUseId"], path)


def _check_id(told: str, path: str) -> None:
    if _ID.fullmatch(told) is None:
        raise _invalid(f"Value at '{path}.toolUseId' failed to satisfy constraint: [a-zA-Z0-9_-]+")


def _check_result(told: dict[str, Any], path: str) -> None:
    if not {"toolUseId", "content"} <= told.keys() <= {"toolUseId", "content", "status"}:
        raise _invalid(f"{path}.toolResult is invalid")
    _check_id(told["toolUseId"], path)
    for inner in told["content"]:
        _check_block(inner, f"{path}.toolResult.content", _IN_RESULTS)


def _check_reasoning(told: dict[str, Any], path: str) -> None:
    match told:
        case {"reasoningText": {"text": str(), "signature": str(signature)}}:
            if signature != SIGNATURE:
                raise _invalid(f"{path}: Invalid `signature` in `thinking` block")
        case {"redactedContent": str()}:
            pass
        case _:
            raise _invalid(f"{path}.reasoningContent is invalid")


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)
