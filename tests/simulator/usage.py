"""How the simulator counts: plain arithmetic, so that a test can work out every bill by itself.

    prompt_tokens     = words in all text of all messages + 3 for each message
    completion_tokens = words in the answer (+ reasoning tokens, where the script asks for them)
    words asked for   = `words=N` in the last user message, else 16
    words in answer   = the smaller of words asked for and max_completion_tokens (or max_tokens)

A *word* is what `str.split()` yields. The text of a message is its `content`, or the `text` of each
content part of type `text`. A tool call counts as 8 completion tokens, whatever it holds. A thought is
3 more, and a word of `stop` ends the answer before it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

TOKENS_PER_MESSAGE = 3
TOOL_CALL_TOKENS = 8
WORDS_DEFAULT = 16
WORDS_MAX = 100_000
THOUGHT = "weighing the question"
"""What a model that is asked to think thinks: three tokens."""

# fmt: off
VOCABULARY = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove",
    "harbor", "island", "juniper", "kettle", "lagoon", "meadow", "nectar",
    "orchid", "pebble", "quartz", "river", "saffron", "timber", "umber",
    "valley", "willow", "xenon", "yarrow", "zephyr",
)
# fmt: on

_WORDS = re.compile(r"\bwords=(\d{1,9})\b")
_PAUSE = re.compile(r"\bpause_ms=(\d{1,5})\b")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one call. Reasoning tokens are part of `completion_tokens`, cached and cache-write of prompt."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and part.get("type") == "text":
                yield str(part.get("text", ""))


def prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """The prompt tokens of a request's `messages`."""
    words = sum(len(text.split()) for message in messages for text in _texts(message))
    return words + TOKENS_PER_MESSAGE * len(messages)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """All text of the last user message, where the simulator looks for its instructions."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return " ".join(_texts(message))
    return ""


def words_asked_for(user_text: str) -> int:
    """The number in `words=N`, at most `WORDS_MAX`, else `WORDS_DEFAULT`."""
    found = _WORDS.search(user_text) if "words=" in user_text else None
    return min(int(found[1]), WORDS_MAX) if found else WORDS_DEFAULT


def pause_ms(user_text: str) -> int:
    """The number in `pause_ms=N`: milliseconds between two chunks; 0 when absent."""
    found = _PAUSE.search(user_text) if "pause_ms=" in user_text else None
    return int(found[1]) if found else 0


def completion_tokens(messages: Sequence[Mapping[str, Any]], tokens_max: int | None) -> int:
    """The completion tokens of a plain answer to `messages` under the request's own limit."""
    asked_for = words_asked_for(last_user_text(messages))
    return asked_for if tokens_max is None else min(asked_for, tokens_max)


def answer_words(count: int) -> list[str]:
    """The first `count` words of the endless answer, which goes round the vocabulary."""
    rounds, rest = divmod(count, len(VOCABULARY))
    return [*(VOCABULARY * rounds), *VOCABULARY[:rest]]


def answer_text(count: int) -> str:
    """The answer of `count` words, as a client reads it."""
    return " ".join(answer_words(count))
