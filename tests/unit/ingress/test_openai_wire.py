import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import openai_wire
from services.ingress.inbound.http.error_envelope import error_body, rate_limit_headers
from services.ingress.inbound.http.event_stream import EventStream
from shared.events.billing import KeyLimitReached, RateLimitReached
from shared.events.replies import (
    Choice,
    FunctionCall,
    Message,
    PaymentRequired,
    ReasoningDetail,
    ReasoningEncrypted,
    ReasoningSummary,
    ReasoningText,
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplyPart,
    ReplyStarted,
    ReplyUsage,
    ToolCall,
)

BYOK = ReplyUsage(
    prompt_tokens=100,
    completion_tokens=7,
    cached_tokens=40,
    reasoning_tokens=2,
    cost_nano_usd=1_803_975,
    is_byok=True,
    list_cost_nano_usd=36_079_500,
    list_prompt_cost_nano_usd=34_384_500,
    list_completion_cost_nano_usd=1_695_000,
)
CREDITS = msgspec.structs.replace(BYOK, is_byok=False, cost_nano_usd=36_079_500)


def completed(usage: ReplyUsage, *choices: Choice) -> ReplyCompleted:
    return ReplyCompleted(
        model="openai/gpt-4o",
        provider_name="OpenAI",
        created=5,
        choices=list(choices),
        usage=usage,
        attempts=(),
    )


def chunks(*parts: ReplyPart) -> list[Any]:
    stream = EventStream("gen-1", requested="openai/gpt-4o", created=1, wants_metadata=False)
    text = stream.encode(parts).decode()
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


def nulls(value: Any, path: str = "") -> list[str]:
    match value:
        case None:
            return [path]
        case dict():
            return [
                found for name, each in value.items() for found in nulls(each, f"{path}.{name}")
            ]
        case list():
            return [found for each in value for found in nulls(each, f"{path}[]")]
        case _:
            return []


def test_usage_with_an_own_key_has_the_fee_and_the_list_cost_exactly() -> None:
    usage = json.loads(bytes(openai_wire.usage_json(BYOK)), parse_float=Decimal)
    assert usage == {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": Decimal("0.001803975"),
        "is_byok": True,
        "cost_details": {
            "upstream_inference_cost": Decimal("0.0360795"),
            "upstream_inference_prompt_cost": Decimal("0.0343845"),
            "upstream_inference_completions_cost": Decimal("0.001695"),
        },
    }


def test_usage_with_credits_leaves_the_upstream_cost_null_so_that_sums_stay_right() -> None:
    usage = json.loads(bytes(openai_wire.usage_json(CREDITS)), parse_float=Decimal)
    assert usage["is_byok"] is False
    assert usage["cost"] == Decimal("0.0360795")
    assert usage["cost_details"]["upstream_inference_cost"] is None
    assert usage["cost_details"]["upstream_inference_prompt_cost"] == Decimal("0.0343845")


def test_a_whole_completion_has_no_null_but_the_ones_that_clients_expect() -> None:
    call = ToolCall(index=0, id="c1", function=FunctionCall(name="f", arguments="{}"))
    choice = Choice(message=Message(tool_calls=[call]), finish_reason="tool_calls")
    body = json.loads(
        openai_wire.completion("gen-1", completed(BYOK, choice), openrouter_metadata=None)
    )
    assert nulls(body) == [".system_fingerprint", ".choices[].message.content"]
    message = body["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    assert body["choices"][0]["native_finish_reason"] == "tool_calls"


def test_chunks_have_no_usage_but_the_last_and_only_finish_reasons_are_null() -> None:
    found = chunks(
        ReplyStarted(model="openai/gpt-4o-2024", provider_name="Azure", created=9),
        ReplyDelta(choices=[Choice(message=Message(content="a"))]),
        ReplyDelta(choices=[Choice(message=Message(), finish_reason="stop")]),
        completed(BYOK),
    )
    assert [sorted(nulls(chunk)) for chunk in found] == [
        [".choices[].finish_reason", ".choices[].native_finish_reason"],
        [],
        [],
    ]
    assert found[0]["provider"] == "Azure"
    assert found[0]["model"] == "openai/gpt-4o-2024"
    assert found[0]["created"] == 9
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[1]["choices"][0] == {
        "index": 0,
        "delta": {},
        "finish_reason": "stop",
        "native_finish_reason": "stop",
    }
    assert [("usage" in chunk, len(chunk["choices"])) for chunk in found] == [
        (False, 1),
        (False, 1),
        (True, 0),
    ]
    assert all("system_fingerprint" not in chunk for chunk in found)


def test_a_failure_in_the_middle_is_a_chunk_with_an_integer_code() -> None:
    [chunk] = chunks(ReplyFailed(status=502, message="cut", error_type="provider_unavailable"))
    assert chunk["error"] == {
        "code": 502,
        "message": "cut",
        "metadata": {"error_type": "provider_unavailable"},
    }
    assert chunk["choices"][0]["finish_reason"] == "error"
    assert chunk["object"] == "chat.completion.chunk"


def test_the_envelope_names_the_field() -> None:
    body = json.loads(error_body(refusals.invalid("is required", field="messages")))
    assert body == {
        "error": {
            "code": 400,
            "message": "messages: is required",
            "metadata": {"error_type": "invalid_request", "field": "messages"},
        }
    }


def test_reasoning_details_reach_the_client_whole_and_streamed_without_nulls() -> None:
    details: list[ReasoningDetail] = [
        ReasoningText(text="hm", signature="sig", format="anthropic-claude-v1", index=0),
        ReasoningSummary(summary="s"),
        ReasoningEncrypted(data="d", format="anthropic-claude-v1", index=1),
    ]
    told = [
        {
            "type": "reasoning.text",
            "text": "hm",
            "signature": "sig",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.summary", "summary": "s"},
        {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 1},
    ]
    message = Message(content="a", reasoning="hm", reasoning_details=details)
    sent = msgspec.json.encode(completed(BYOK, Choice(message=message, finish_reason="stop")))
    arrived = msgspec.json.decode(sent, type=ReplyCompleted)
    whole = json.loads(openai_wire.completion("gen-1", arrived, openrouter_metadata=None))
    assert whole["choices"][0]["message"]["reasoning_details"] == told

    started = ReplyStarted(model="m", provider_name="P", created=1)
    (chunk,) = chunks(started, ReplyDelta(choices=[Choice(message=message)]))
    assert chunk["choices"][0]["delta"]["reasoning_details"] == told
    assert nulls(chunk["choices"][0]["delta"]) == []


def test_a_402_says_what_could_be_afforded_and_which_limit_it_was() -> None:
    payment = PaymentRequired(
        needed_nano_usd=500,
        available_nano_usd=200,
        requested_max_tokens=1_000,
        affordable_max_tokens=400,
        key_limit=KeyLimitReached(
            limit_nano_usd=300,
            left_nano_usd=200,
            limit_reset="daily",
            resets_at=datetime(2026, 11, 27, tzinfo=UTC),
        ),
    )
    refusal = Refusal(status=402, message="m", error_type="payment_required", payment=payment)
    assert json.loads(error_body(refusal))["error"] == {
        "code": 402,
        "message": "m",
        "metadata": {
            "error_type": "payment_required",
            "needed_nano_usd": 500,
            "available_nano_usd": 200,
            "requested_max_tokens": 1_000,
            "affordable_max_tokens": 400,
            "key_limit": {
                "limit_nano_usd": 300,
                "left_nano_usd": 200,
                "limit_reset": "daily",
                "resets_at": "2026-11-27T00:00:00Z",
            },
        },
    }


def test_a_rate_limit_of_ours_has_its_headers_in_the_body_too() -> None:
    reached = RateLimitReached(
        counted="tokens", limit=60, remaining=7, resets_at=datetime(2026, 11, 27, tzinfo=UTC)
    )
    refusal = Refusal(status=429, message="m", error_type="rate_limit_exceeded", rate_limit=reached)
    headers = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "7",
        "X-RateLimit-Reset": "1795737600000",
    }
    assert rate_limit_headers(refusal) == headers
    metadata = json.loads(error_body(refusal))["error"]["metadata"]
    assert (metadata["headers"], metadata["counted"]) == (headers, "tokens")
