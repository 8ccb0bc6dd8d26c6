"""Tools as Converse is told of them, and which of them it may or must call."""

from typing import Any, Final

import msgspec

from services.dispatcher.domain.conversation import Conversation, NamedTool, Tool
from services.dispatcher.outbound.providers.anthropic.strict_schema import strict_schema
from services.dispatcher.outbound.providers.bedrock.content_blocks import Block, BlockWriter
from services.dispatcher.outbound.providers.bedrock.models import Model

NO_TOOLS_WANTED: Final = "Answer without calling a tool."
"""Converse knows no choice of none, and wants its tools told while the messages hold calls."""

_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def offer_tools(parts: Block, conversation: Conversation, model: Model) -> Block:
    """Put `toolConfig` into `parts`; what only Claude can be told of the choice is returned."""
    called = _names_called(parts["messages"])
    is_none = conversation.tool_choice == "none" or not conversation.tools
    if is_none and not called:
        return {}
    writer = BlockWriter(model)
    tools: list[Block] = []
    for tool in conversation.tools:
        tools += [{"toolSpec": _spec(tool, model)}, *writer.point(tool.cache)]
    if not tools:
        tools = [{"toolSpec": _spec(Tool(name=name), model)} for name in called]
    parts["toolConfig"] = {"tools": tools}
    if is_none:
        parts["system"] = [*parts.get("system", []), {"text": NO_TOOLS_WANTED}]
        return {}
    choice = _choice(conversation, model)
    if choice is not None:
        parts["toolConfig"]["toolChoice"] = choice
    if model.claude is None or conversation.parallel_tool_calls is not False:
        return {}
    return {"tool_choice": _of_claude(choice) | {"disable_parallel_tool_use": True}}


def _names_called(messages: list[Block]) -> dict[str, None]:
    """The names of the tools that were called before, each once and in order."""
    blocks = (block for message in messages for block in message["content"])
    return dict.fromkeys(block["toolUse"]["name"] for block in blocks if "toolUse" in block)


def _spec(tool: Tool, model: Model) -> Block:
    schema: Block = dict(_NO_PARAMETERS)
    if tool.parameters is not None:
        schema = {"type": "object"} | _decode_object(tool.parameters)
    spec: Block = {"name": tool.name}
    if tool.description and tool.description.strip():
        spec["description"] = tool.description
    if tool.strict and model.knows_schemas and tool.parameters is not None:
        spec["strict"] = True
        schema = {"type": "object"} | strict_schema(tool.parameters)
    return spec | {"inputSchema": {"json": schema}}


def _choice(conversation: Conversation, model: Model) -> Block | None:
    choice = conversation.tool_choice
    if choice is None:
        return None
    if choice == "auto" or not model.can_be_forced:
        return {"auto": {}}
    if isinstance(choice, NamedTool) and model.can_be_forced_to_one:
        return {"tool": {"name": choice.name}}
    return {"any": {}}


def _of_claude(choice: Block | None) -> Block:
    """The same choice in Anthropic's words."""
    match choice:
        case {"any": _}:
            return {"type": "any"}
        case {"tool": {"name": name}}:
            return {"type": "tool", "name": name}
        case _:
            return {"type": "auto"}
