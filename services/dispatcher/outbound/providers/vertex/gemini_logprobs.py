"""Gemini's log probabilities in OpenAI's shape."""

from typing import Any

import msgspec


class WireChosen(msgspec.Struct, rename="camel"):
    """One token and how likely it was."""

    token: str = ""
    log_probability: float = 0.0


class WireTop(msgspec.Struct):
    """The likeliest tokens at one place."""

    candidates: list[WireChosen] = []


class WireLogprobs(msgspec.Struct, rename="camel"):
    """`logprobsResult`."""

    chosen_candidates: list[WireChosen] = []
    top_candidates: list[WireTop] = []


def read_logprobs(told: WireLogprobs | None) -> dict[str, Any] | None:
    """`logprobs` of a choice; None when it was not told."""
    if told is None:
        return None
    tops = told.top_candidates
    content = [
        {
            **_token(chosen),
            "top_logprobs": [_token(top) for top in tops[at].candidates] if at < len(tops) else [],
        }
        for at, chosen in enumerate(told.chosen_candidates)
    ]
    return {"content": content, "refusal": None}


def _token(chosen: WireChosen) -> dict[str, Any]:
    return {
        "token": chosen.token,
        "logprob": chosen.log_probability,
        "bytes": list(chosen.token.encode("utf-8", "replace")),
    }
