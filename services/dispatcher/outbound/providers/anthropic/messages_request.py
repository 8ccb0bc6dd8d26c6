"""Writing a request of Anthropic's Messages API; the same for Claude elsewhere (Vertex, rawPredict).

Reference: platform.claude.com/docs/en/api/messages/create (November 2026). What goes beside it
(`model`, or `anthropic_version`) and how it gets there is the transport's.
"""

from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.conversation import (
    Conversation,
    JsonSchema,
    NamedTool,
    Refused,
    Tool,
)
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.read_conversation import read_conversation
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.turns import in_turns
from services.dispatcher.outbound.providers.anthropic.betas import INTERLEAVED_THINKING, betas
from services.dispatcher.outbound.providers.anthropic.content_blocks import (
    Block,
    cache_control,
    message,
    text_block,
)
from services.dispatcher.outbound.providers.anthropic.messages_dialect import MessagesDialect
from services.dispatcher.outbound.providers.anthropic.models import Claude, claude
from services.dispatcher.outbound.providers.anthropic.steering import steering
from services.dispatcher.outbound.providers.anthropic.strict_schema import strict_schema
from services.dispatcher.outbound.providers.form_as_tool import form_as_tool

USER_ID_CHARACTERS_MAX: Final = 256
JSON_WANTED: Final = "Answer with one JSON object and nothing else."
"""Claude has no switch for JSON without a schema; OpenAI wants its prompt to ask for it anyhow."""

_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_SERVICE_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard": "standard_only"}
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest:
    """A request but for the model's name. `betas` go into `anthropic-beta`, or beside it elsewhere.

    `dialect` is how its answers are read.
    """

    body: Block
    betas: tuple[str, ...]
    dialect: MessagesDialect


def write_messages(
    attempt: Attempt, request: ChatRequest, *, streamed: bool, takes_links: bool = True
) -> MessagesRequest | ProviderFailure:
    """The request, or why it cannot be made. `takes_links`: whether images may be addresses."""
    conversation = read_conversation(request)
    if isinstance(conversation, Refused):
        return conversation.as_bad_input()
    model = claude(attempt.endpoint.provider_model)
    by_tool = None if model.knows_schemas else form_as_tool(conversation)
    conversation = by_tool or conversation
    steered = steering(conversation, model, attempt.endpoint.output_tokens_max)
    taken = steered.taken | _TAKEN | _taken_by(model, is_formed=by_tool is not None)
    failure = conversation.left_out(taken)
    if failure is not None:
        return failure
    body = _said(conversation, takes_links=takes_links)
    if isinstance(body, Refused):
        return body.at_provider()
    body |= steered.body
    if conversation.tools:
        _offer_tools(body, conversation, model)
    _answer_in_form(body, conversation, model)
    _tell_the_rest(body, conversation, is_byok=attempt.is_byok)
    if streamed:
        body["stream"] = True
    thinks_by_budget = body.get("thinking", {}).get("type") == "enabled"
    interleaves = thinks_by_budget and conversation.tools and model.version >= (4, 0)
    return MessagesRequest(
        body=body,
        betas=betas(attempt, request, *((INTERLEAVED_THINKING,) if interleaves else ())),
        dialect=MessagesDialect(
            excludes_reasoning=conversation.reasoning.exclude, is_formed=by_tool is not None
        ),
    )


_TAKEN: Final = frozenset({"cache_control", "parallel_tool_calls", "stop", "tools", "user"})


def _taken_by(model: Claude, *, is_formed: bool) -> frozenset[str]:
    taken = {"response_format"} if model.knows_schemas or is_formed else set[str]()
    return frozenset(taken | ({"tool_choice"} if model.can_be_forced else set()))


def _said(conversation: Conversation, *, takes_links: bool) -> Block | Refused:
    found = in_turns(conversation.messages)
    messages: list[Block] = []
    for turn in found.turns:
        told = message(turn, takes_links=takes_links)
        if isinstance(told, Refused):
            return told
        messages.append(told)
    _end_cleanly(messages[-1])
    body: Block = {"messages": messages}
    system = [text_block(text) for text in found.system]
    if conversation.answer_format == "json_object":
        system.append({"type": "text", "text": JSON_WANTED})
    if system:
        body["system"] = system
    return body


def _end_cleanly(last: Block) -> None:
    """An answer begun by the client must not end in white space."""
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


def _offer_tools(body: Block, conversation: Conversation, model: Claude) -> None:
    body["tools"] = [_tool(tool, model) for tool in conversation.tools]
    choice = _tool_choice(conversation, model)
    if conversation.parallel_tool_calls is False and choice.get("type") != "none":
        choice = {"type": "auto"} | choice | {"disable_parallel_tool_use": True}
    if choice:
        body["tool_choice"] = choice


def _tool(tool: Tool, model: Claude) -> Block:
    schema = _NO_PARAMETERS
    if tool.parameters is not None:
        schema = {"type": "object"} | _decode_object(tool.parameters)
    told: Block = {"name": tool.name, "input_schema": schema}
    if tool.description:
        told["description"] = tool.description
    if tool.strict and model.knows_schemas and tool.parameters is not None:
        told |= {
            "strict": True,
            "input_schema": {"type": "object"} | strict_schema(tool.parameters),
        }
    if tool.cache is not None:
        told["cache_control"] = cache_control(tool.cache)
    return told


def _tool_choice(conversation: Conversation, model: Claude) -> Block:
    choice = conversation.tool_choice
    match choice:
        case None:
            return {}
        case "none" | "auto":
            return {"type": choice}
        case _ if not model.can_be_forced:
            return {"type": "auto"}
        case "required":
            return {"type": "any"}
        case NamedTool():
            return {"type": "tool", "name": choice.name}
        case _:
            assert_never(choice)


def _answer_in_form(body: Block, conversation: Conversation, model: Claude) -> None:
    form = conversation.answer_format
    if isinstance(form, JsonSchema) and model.knows_schemas:
        told = {"type": "json_schema", "schema": strict_schema(form.schema)}
        body["output_config"] = {**body.get("output_config", {}), "format": told}


def _tell_the_rest(body: Block, conversation: Conversation, *, is_byok: bool) -> None:
    stops = [stop for stop in conversation.stop if stop.strip()]
    if stops:
        body["stop_sequences"] = stops
    if conversation.cache is not None:
        body["cache_control"] = cache_control(conversation.cache)
    user = conversation.user
    if user and len(user) <= USER_ID_CHARACTERS_MAX:
        body["metadata"] = {"user_id": user}
    tier = _SERVICE_TIERS.get(conversation.service_tier or "")
    if tier is not None and is_byok:  # priced apart, so never for shared capacity
        body["service_tier"] = tier
