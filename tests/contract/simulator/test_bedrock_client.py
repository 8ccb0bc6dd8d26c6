"""The simulator as boto3 reads it, and as strict as Bedrock is."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.simulator import usage
from tests.simulator.anthropic_messages import SIGNATURE
from tests.simulator.app import Simulator
from tests.simulator.bedrock_auth import secret_of, token_of
from tests.simulator.scripts import CachedTokens, Script

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
KEY = "AKIASIMULATOR000001"
MESSAGES: Any = [{"role": "user", "content": [{"text": "Count for me, words=20 please"}]}]
TOOLS: Any = {
    "tools": [
        {
            "toolSpec": {
                "name": "weather",
                "inputSchema": {
                    "json": {"type": "object", "properties": {"city": {"type": "string"}}}
                },
            }
        }
    ]
}


def _client(simulator: Simulator, key: str = KEY, region: str = "us-east-1", **parts: Any) -> Any:
    given = {"aws_secret_access_key": secret_of(key), **parts}
    if key.startswith("ASIA"):
        given = {"aws_session_token": token_of(key), **given}
    return boto3.client(
        "bedrock-runtime",
        region_name=region,
        endpoint_url=f"{simulator.url}/bedrock/us-east-1",
        aws_access_key_id=key,
        config=Config(retries={"total_max_attempts": 1}, signature_version="v4"),
        **given,
    )


async def _ask(simulator: Simulator, ask: Callable[[Any], Any], **parts: Any) -> Any:
    """boto3 blocks, so it asks from a thread."""

    def asked() -> Any:
        client = _client(simulator, **parts)
        try:
            return ask(client)
        finally:
            client.close()

    return await asyncio.to_thread(asked)


def _converse(**parts: Any) -> Callable[[Any], Any]:
    given = {"modelId": MODEL, "messages": MESSAGES, **parts}
    return lambda client: client.converse(**given)


def _events(**parts: Any) -> Callable[[Any], Any]:
    given = {"modelId": MODEL, "messages": MESSAGES, **parts}

    def read(client: Any) -> Any:
        with closing(client.converse_stream(**given)["stream"]) as events:
            return list(events)

    return read


@pytest.mark.parametrize("key", [KEY, "ASIASIMULATOR000001"])
async def test_a_plain_answer_has_text_and_usage(simulator: Simulator, key: str) -> None:
    answer = await _ask(simulator, _converse(), key=key)
    assert answer["output"]["message"]["content"] == [{"text": usage.answer_text(20)}]
    assert answer["stopReason"] == "end_turn"
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (8, 20)
    [call] = simulator.calls.since()
    assert (call.credential, call.outcome, call.wire) == (key, "completed", "bedrock")


async def test_a_bearer_key_is_taken(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: Any) -> Any:
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=f"{simulator.url}/bedrock/us-east-1",
        )
        try:
            return client.converse(modelId=MODEL, messages=MESSAGES)
        finally:
            client.close()

    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ABSKsimulator")  # the only way boto3 takes one
    answer = await _ask(simulator, ask)
    assert answer["stopReason"] == "end_turn"
    assert [call.credential for call in simulator.calls.since()] == ["ABSKsimulator"]
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "ABSKsimulator-eu-west-1")
    with pytest.raises(ClientError, match="your API Key is valid"):
        await _ask(simulator, ask)


async def test_counts_of_the_cache_stand_apart(simulator: Simulator) -> None:
    simulator.scripts.put(KEY, Script([CachedTokens(tokens=5, written=2)]))
    told = (await _ask(simulator, _converse()))["usage"]
    assert (told["inputTokens"], told["cacheReadInputTokens"]) == (1, 5)
    assert (told["cacheWriteInputTokens"], told["totalTokens"]) == (2, 28)


async def test_a_stream_is_read_frame_by_frame(simulator: Simulator) -> None:
    events = await _ask(
        simulator,
        _events(
            messages=[{"role": "user", "content": [{"text": "use the tool"}]}],
            toolConfig=TOOLS,
            inferenceConfig={"maxTokens": 4000},
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
    )
    kinds = [min(event) for event in events]
    assert kinds[0] == "messageStart"
    assert kinds[-2:] == ["messageStop", "metadata"]
    deltas = [each["contentBlockDelta"]["delta"] for each in events if "contentBlockDelta" in each]
    thoughts = [each["reasoningContent"] for each in deltas if "reasoningContent" in each]
    assert "".join(each.get("text", "") for each in thoughts) == usage.THOUGHT
    assert thoughts[-1] == {"signature": SIGNATURE}
    pieces = [each["toolUse"]["input"] for each in deltas if "toolUse" in each]
    assert "".join(pieces) == '{"city":"amber"}'
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"


async def test_an_exception_in_a_stream_is_raised(simulator: Simulator) -> None:
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        await _ask(simulator, _events(), key="AKIA-errorafter-1")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"aws_secret_access_key": "x" * 40}, "signature we calculated does not match"),
        ({"region": "eu-west-1"}, "scoped to a valid region"),
        ({"aws_session_token": "not-its-own"}, "security token included in the request is invalid"),
        ({"key": "AKIA-invalid-1"}, "security token included in the request is invalid"),
        ({"key": "AKIA-403-1"}, "is not authorized to perform: bedrock:InvokeModel"),
        ({"key": "AKIA-429-1"}, "ThrottlingException"),
        ({"key": "AKIA-404-1"}, "ResourceNotFoundException"),
    ],
)
async def test_refusals_are_the_clients_own_errors(
    simulator: Simulator, parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        await _ask(simulator, _converse(), **parts)


async def test_a_signature_of_another_time_is_refused(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = SigV4Auth._modify_request_before_signing  # noqa: SLF001 - boto3 takes its own clock only

    def late(self: SigV4Auth, request: Any) -> None:
        request.context["timestamp"] = "20200101T000000Z"
        signed(self, request)

    monkeypatch.setattr(SigV4Auth, "_modify_request_before_signing", late)
    with pytest.raises(ClientError, match="Signature expired"):
        await _ask(simulator, _converse())


_CALL = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}
_DOCUMENT = {"format": "pdf", "name": "a", "source": {"bytes": b"x"}}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"modelId": MODEL.removeprefix("us.")}, "on-demand throughput"),
        ({"modelId": "missing"}, "model identifier is invalid"),
        ({"messages": []}, "at least one message"),
        ({"messages": MESSAGES * 2}, "must alternate"),
        ({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "must start with"),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "is blank"),
        ({"messages": [{"role": "user", "content": [{"document": _DOCUMENT}]}]}, "text block"),
        (
            {"messages": [*MESSAGES, {"role": "assistant", "content": [_CALL]}, *MESSAGES]},
            "Expected toolResult",
        ),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [_CALL]}]}, "toolConfig field"),
        ({"inferenceConfig": {"temperature": 1.5}}, "at most 1"),
        ({"inferenceConfig": {"stopSequences": [" "]}}, "non-whitespace"),
        ({"additionalModelRequestFields": {"seed": 1}}, "Extra inputs are not permitted"),
        (
            {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2}}},
            "must be greater than",
        ),
    ],
)
async def test_what_the_service_refuses_is_refused(
    simulator: Simulator, parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        await _ask(simulator, _converse(**parts))
