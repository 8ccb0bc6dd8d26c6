"""The messages of a Messages request: roles, blocks, and tool results behind their calls."""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.simulator.errors import Cause, RequestRefused

SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
"""What every thought is signed with; no other is taken back."""
REDACTED: Final = "cmVkYWN0ZWQ="

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text"}),
    "image": frozenset({"source"}),
    "document": frozenset({"source", "title", "context", "citations"}),
    "thinking": frozenset({"thinking", "signature"}),
    "redacted_thinking": frozenset({"data"}),
    "tool_use": frozenset({"id", "name", "input"}),
    "tool_result": frozenset({"tool_use_id", "content", "is_error"}),
}
_OPTIONAL: Final = frozenset({"cache_control", "type", "title", "context", "citations", "is_error"})
_SIDES: Final = {
    "user": frozenset({"text", "image", "document", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use"}),
}


def check_system(system: str | list[dict[str, Any]] | None) -> None:
    """Raise RequestRefused unless it is text."""
    for at, block in enumerate(system if isinstance(system, list) else []):
        _check_block(block, f"system.{at}", frozenset({"text"}))


def check_messages(messages: Sequence[dict[str, Any]]) -> None:
    """Raise RequestRefused for what Anthropic does not take."""
    if not messages:
        raise _invalid("messages: at least one message is required")
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        role = message.get("role")
        if message.keys() != {"role", "content"}:
            raise _invalid(f"messages.{at}: Extra inputs are not permitted, or a field is missing")
        if role not in _SIDES:
            raise _invalid(
                f'messages: Unexpected role "{role}". The Messages API accepts a top-level `system` '
                'parameter, not "system" as an input message role.'
            )
        if at == 0 and role != "user":
            raise _invalid('messages: first message must use the "user" role')
        open_calls = _check_content(message, at, open_calls)
    last = messages[-1]
    if last["role"] == "assistant" and _text_of(last).rstrip() != _text_of(last):
        raise _invalid("messages: final assistant content cannot end with trailing whitespace")


def _check_content(message: dict[str, Any], at: int, open_calls: list[str]) -> list[str]:
    """The ids of the tool calls that the next message must answer."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise _invalid(f"messages.{at}: content must not be empty")
    for place, block in enumerate(content):
        _check_block(block, f"messages.{at}.content.{place}", _SIDES[message["role"]])
    answered = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
    for tool_use_id in answered:
        if tool_use_id not in open_calls:
            raise _invalid(
                f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
    missing = [call for call in open_calls if call not in answered]
    kinds = [block["type"] for block in content]
    if missing or (answered and kinds[: len(answered)] != ["tool_result"] * len(answered)):
        raise _invalid(
            f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(missing or answered)}."
        )
    return [block["id"] for block in content if block["type"] == "tool_use"]


def _check_block(block: Any, path: str, allowed: frozenset[str]) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in allowed:
        raise _invalid(f"{path}: Input tag '{kind}' found using 'type' does not match any expected")
    fields = _FIELDS[kind]
    extra = block.keys() - fields - {"type", "cache_control"}
    if extra:
        raise _invalid(f"{path}.{kind}.{min(extra)}: Extra inputs are not permitted")
    missing = fields - block.keys() - _OPTIONAL
    if missing - {"content"}:
        raise _invalid(f"{path}.{kind}.{min(missing)}: Field required")
    _CHECKS.get(kind, _nothing)(block, path)


def _check_text(block: dict[str, Any], path: str) -> None:
    if not isinstance(block["text"], str) or not block["text"].strip():
        raise _invalid(f"{path}: text content blocks must be non-empty")


def _check_source(block: dict[str, Any], path: str) -> None:
    match block["source"]:
        case {"type": "base64", "media_type": str(kind), "data": str(data), **rest} if not rest:
            allowed = _IMAGES if block["type"] == "image" else {"application/pdf"}
            if kind not in allowed:
                raise _invalid(f"{path}.source.base64.media_type: Input should be {min(allowed)}")
            try:
                binascii.a2b_base64(data, strict_mode=True)
            except binascii.Error:
                raise _invalid(f"{path}.source.base64: invalid base64 data") from None
        case {"type": "url", "url": str(url), **rest} if not rest and url.startswith("https://"):
            pass
        case {"type": "text", "media_type": "text/plain", "data": str(), **rest} if not rest:
            pass
        case _:
            raise _invalid(f"{path}.source: Input tag does not match any of the expected tags")


def _check_thinking(block: dict[str, Any], path: str) -> None:
    if block["signature"] != SIGNATURE:
        raise _invalid(f"{path}: Invalid `signature` in `thinking` block")


def _check_redacted(block: dict[str, Any], path: str) -> None:
    if block["data"] != REDACTED:
        raise _invalid(f"{path}: Invalid `data` in `redacted_thinking` block")


def _check_call(block: dict[str, Any], path: str) -> None:
    if _ID.fullmatch(block["id"]) is None:
        raise _invalid(f"{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block["input"], dict):
        raise _invalid(f"{path}.tool_use.input: Input should be a valid dictionary")


def _check_result(block: dict[str, Any], path: str) -> None:
    content = block.get("content", "")
    for at, inner in enumerate(content if isinstance(content, list) else []):
        allowed = frozenset({"text", "image", "document"})
        _check_block(inner, f"{path}.tool_result.content.{at}", allowed)


def _nothing(_block: dict[str, Any], _path: str) -> None:
    pass


_CHECKS: Final = {
    "text": _check_text,
    "image": _check_source,
    "document": _check_source,
    "thinking": _check_thinking,
    "redacted_thinking": _check_redacted,
    "tool_use": _check_call,
    "tool_result": _check_result,
}


def _text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    last = content[-1]
    return str(last["text"]) if last["type"] == "text" else ""


def _invalid(message: str) -> RequestRefused:
    return RequestRefused(Cause.INVALID_VALUE, message)
