"""Reading how much to think, and what was thought in earlier answers."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.dispatcher.domain.conversation import Effort, Reasoning, Refused
from services.dispatcher.domain.read_options import WireOptions, WireReasoning
from shared.events.replies import ReasoningDetail, ReasoningText

_EFFORTS: Final[dict[str, Effort]] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}

_decode_detail = msgspec.json.Decoder(ReasoningDetail).decode


def read_reasoning(options: WireOptions) -> Reasoning | Refused:
    """How much to think: `reasoning`, else OpenAI's `reasoning_effort`.

    A budget wins over an effort beside it, for it says more.
    """
    wire = options.reasoning or WireReasoning()
    word = wire.effort or options.reasoning_effort
    effort = None if word is None else _EFFORTS.get(word.lower())
    if word is not None and effort is None:
        path = "reasoning.effort" if wire.effort else "reasoning_effort"
        return Refused(path, f"must be one of {', '.join(_EFFORTS)}")
    if wire.max_tokens is not None and wire.max_tokens < 0:
        return Refused("reasoning.max_tokens", "must not be negative")
    exclude = bool(wire.exclude) or options.include_reasoning is False
    if wire.enabled is False or effort == "none" or wire.max_tokens == 0:
        return Reasoning(is_wanted=False, exclude=exclude)
    if wire.max_tokens is not None:
        return Reasoning(is_wanted=True, max_tokens=wire.max_tokens, exclude=exclude)
    if effort is not None or wire.enabled or options.include_reasoning:
        return Reasoning(is_wanted=True, effort=effort, exclude=exclude)
    return Reasoning(exclude=exclude)


def read_details(wire: Sequence[msgspec.Raw]) -> tuple[ReasoningDetail, ...]:
    """The details of an earlier answer, with the pieces of a stream put together again.

    Shapes that we do not know are passed over: no provider that we speak to has made them.
    """
    details: list[ReasoningDetail] = []
    for raw in wire:
        try:
            detail = _decode_detail(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        joined = _joined(details[-1], detail) if details else None
        if joined is None:
            details.append(detail)
        else:
            details[-1] = joined
    return tuple(details)


def _joined(before: ReasoningDetail, after: ReasoningDetail) -> ReasoningText | None:
    """One detail of two pieces of one; None when they are two. A signature ends a detail."""
    if not isinstance(before, ReasoningText) or not isinstance(after, ReasoningText):
        return None
    if before.index is None or before.index != after.index or before.signature is not None:
        return None
    return msgspec.structs.replace(
        before,
        text=(before.text or "") + (after.text or ""),
        signature=after.signature,
        id=before.id or after.id,
        format=before.format or after.format,
    )
