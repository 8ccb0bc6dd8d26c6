"""How much to think, in the words of providers that speak OpenAI's chat completions.

OpenRouter's efforts are `none`, `minimal`, `low`, `medium`, `high`, `xhigh` and `max`; a model knows some
of them, or has words of its own. Which do, and where that is documented, is in `quirks.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from services.dispatcher.domain.conversation import Effort, Reasoning, Refused
from services.dispatcher.domain.read_options import WireOptions
from services.dispatcher.domain.read_reasoning import read_reasoning
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.thinking import effort_of

_LEAST_FIRST: Final[tuple[Effort, ...]] = ("minimal", "low", "medium", "high", "xhigh", "max")
ASKED: Final = frozenset({"include_reasoning", "reasoning", "reasoning_effort"})
"""The fields that ask for it."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Efforts:
    """What some models take.

    `models` is matched with a model's name; `words` has the provider's word for each effort, and an
    effort that is not there is left to the model. `off` is what the body says to turn thinking off,
    where no effort does.
    """

    models: re.Pattern[str]
    words: Mapping[Effort, str] = field(default_factory=dict)
    off: Mapping[str, object] = field(default_factory=dict)


def levels(*known: Effort) -> Mapping[Effort, str]:
    """Words for models that take OpenAI's own, of which they know `known`, least first.

    Another effort is the nearest that is known and not above, else the least. Only `none` stops
    thinking, so it stands for no other.
    """
    words: dict[Effort, str] = {}
    thinking = [effort for effort in known if effort != "none"]
    for place, effort in enumerate(_LEAST_FIRST):
        below = [each for each in thinking if _LEAST_FIRST.index(each) <= place]
        words[effort] = below[-1] if below else thinking[0]
    if "none" in known:
        words["none"] = "none"
    return words


def always(word: str) -> Mapping[Effort, str]:
    """Words for models that think or do not: `word`, and `none`."""
    return {**dict.fromkeys(_LEAST_FIRST, word), "none": "none"}


def effort_fields(
    request: ChatRequest, efforts: Efforts | None, *, output_tokens_max: int
) -> Mapping[str, object] | None:
    """What the body says of the effort that the client asks for; None when it cannot be heeded.

    A budget of tokens is told as the effort whose share of the answer's limit covers it.
    """
    reasoning = _asked(request)
    if reasoning is None or efforts is None:
        return None
    if reasoning.is_wanted is None:
        return {}
    limit = min(request.max_tokens or output_tokens_max, output_tokens_max)
    wanted: Effort = effort_of(reasoning, limit) if reasoning.is_wanted else "none"
    word = efforts.words.get(wanted)
    if word is not None:
        return {"reasoning_effort": word}
    return efforts.off or None if wanted == "none" else {}


def _asked(request: ChatRequest) -> Reasoning | None:
    told = {name: request.fields[name] for name in ASKED if name in request.fields}
    try:
        reasoning = read_reasoning(msgspec.json.decode(_encode(told), type=WireOptions))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if isinstance(reasoning, Refused) else reasoning
