"""Writing a request of Converse and ConverseStream, which take the same.

Reference: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (November 2026).
What only one family of models knows goes into `additionalModelRequestFields`.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import Conversation, JsonSchema, Refused
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.read_conversation import read_conversation
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.turns import in_turns
from services.dispatcher.outbound.providers.anthropic.betas import betas
from services.dispatcher.outbound.providers.anthropic.messages_request import JSON_WANTED
from services.dispatcher.outbound.providers.anthropic.strict_schema import strict_schema
from services.dispatcher.outbound.providers.bedrock.content_blocks import Block, BlockWriter
from services.dispatcher.outbound.providers.bedrock.converse_dialect import ConverseDialect
from services.dispatcher.outbound.providers.bedrock.models import Model, model_of
from services.dispatcher.outbound.providers.bedrock.steering import betas_needed, steer
from services.dispatcher.outbound.providers.bedrock.tools import offer_tools
from services.dispatcher.outbound.providers.form_as_tool import form_as_tool

STOP_SEQUENCE: Final = "stopSequences"

_TAKEN: Final = frozenset({"stop", "tools"})
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverseRequest:
    """The parts of a call but for `modelId`; `dialect` is how its answers are read."""

    parts: Block
    dialect: ConverseDialect


def write_converse(attempt: Attempt, request: ChatRequest) -> ConverseRequest | ProviderFailure:
    """The request, or why it cannot be made."""
    conversation = read_conversation(request)
    if isinstance(conversation, Refused):
        return conversation.as_bad_input()
    model = model_of(attempt.endpoint.provider_model)
    by_tool = form_as_tool(conversation) if model.needs_tools_for_forms else None
    conversation = by_tool or conversation
    steered = steer(conversation, model, attempt.endpoint.output_tokens_max)
    taken = steered.taken | _TAKEN | _taken_by(model, is_formed=by_tool is not None)
    failure = conversation.left_out(taken)
    if failure is not None:
        return failure
    parts = _said(conversation, model)
    if isinstance(parts, Refused):
        return parts.at_provider()
    additional = offer_tools(parts, conversation, model)
    additional |= steered.additional
    if model.claude is not None:
        needed = betas_needed(conversation, model.claude, additional)
        named = betas(attempt, request, *needed)
        additional |= {"anthropic_beta": list(named)} if named else {}
    inference: dict[str, Any] = steered.inference
    stops = [stop for stop in conversation.stop if stop.strip()]
    if stops:
        inference[STOP_SEQUENCE] = stops
    if inference:
        parts["inferenceConfig"] = inference
    if additional:
        parts["additionalModelRequestFields"] = additional
    _answer_in_form(parts, conversation, model)
    return ConverseRequest(
        parts=parts,
        dialect=ConverseDialect(
            is_claude=model.claude is not None,
            excludes_reasoning=conversation.reasoning.exclude,
            is_formed=by_tool is not None,
        ),
    )


def _taken_by(model: Model, *, is_formed: bool) -> frozenset[str]:
    taken: set[str] = set()
    if model.caches:
        taken.add("cache_control")
    if model.claude is not None:
        taken.add("parallel_tool_calls")
    if model.can_be_forced:
        taken.add("tool_choice")
    if model.knows_schemas or is_formed:
        taken.add("response_format")
    return frozenset(taken)


def _said(conversation: Conversation, model: Model) -> Block | Refused:
    found = in_turns(conversation.messages)
    writer = BlockWriter(model)
    messages: list[Block] = []
    for turn in found.turns:
        told = writer.message(turn)
        if isinstance(told, Refused):
            return told
        messages.append(told)
    _end_cleanly(messages[-1])
    messages[-1]["content"] += writer.point(conversation.cache)
    parts: Block = {"messages": messages}
    system = writer.texts(found.system)
    if conversation.answer_format == "json_object":
        system.append({"text": JSON_WANTED})
    if system:
        parts["system"] = system
    return parts


def _end_cleanly(last: Block) -> None:
    """An answer begun by the client must not end in white space."""
    content = last["content"]
    if last["role"] == "assistant" and "text" in content[-1]:
        content[-1] = {"text": content[-1]["text"].rstrip()}


def _answer_in_form(parts: Block, conversation: Conversation, model: Model) -> None:
    form = conversation.answer_format
    if not isinstance(form, JsonSchema) or not model.knows_schemas:
        return
    told: Block = {"name": form.name, "schema": _encode(strict_schema(form.schema)).decode()}
    if form.description:
        told["description"] = form.description
    parts["outputConfig"] = {
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": told}}
    }
