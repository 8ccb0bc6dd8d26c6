"""Structured output from models that only a tool can hold to it, over each wire."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from services.dispatcher.domain.reply import StreamEnded, WholeReply
from services.dispatcher.ports import Provider
from shared.events.replies import ReplyDelta
from tests.contract.providers.builders import request
from tests.contract.providers.conftest import wire_of
from tests.simulator.app import Simulator

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": _SCHEMA}}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("anthropic", "claude-3-haiku-20240307"),
        ("google-vertex:anthropic", "claude-3-haiku@20240307"),
        ("amazon-bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("amazon-bedrock", "amazon.nova-lite-v1:0"),
    ],
)
@pytest.mark.parametrize("thinks", [{}, {"reasoning": {"effort": "high"}}])
async def test_the_answer_is_json_of_the_schema_whole_and_streamed(
    providers: Mapping[str, Provider],
    simulator: Simulator,
    name: str,
    model: str,
    thinks: dict[str, Any],
) -> None:
    wire = wire_of(name, providers, simulator)
    to = wire.attempt(provider_model=model)
    fields = {"response_format": _FORM, **thinks}

    whole = await wire.provider.complete(to, wire.secret(), request(**fields))
    asked = request(stream=True, **fields)
    pieces = [piece async for piece in wire.provider.stream(to, wire.secret(), asked)]

    assert isinstance(whole, WholeReply), whole
    (choice,) = whole.choices
    assert msgspec.json.decode(choice.message.content or "").keys() == {"city"}
    assert (choice.finish_reason, choice.native_finish_reason) == ("stop", "tool_use")
    assert choice.message.tool_calls is None
    assert isinstance(pieces[-1], StreamEnded), pieces[-1]
    deltas = [each.choices[0] for each in pieces if isinstance(each, ReplyDelta)]
    assert not any(each.message.tool_calls for each in deltas)
    text = "".join(each.message.content or "" for each in deltas)
    assert msgspec.json.decode(text).keys() == {"city"}
    assert deltas[-1].finish_reason == "stop"
