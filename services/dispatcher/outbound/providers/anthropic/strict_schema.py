"""A JSON schema as Claude's structured output takes it.

It wants `additionalProperties: false` on every object and refuses limits on numbers, lengths and
counts; those move into the description, where the model at least reads them. Source:
platform.claude.com/docs/en/build-with-claude/structured-outputs (November 2026).
"""

from typing import Any, Final

import msgspec

_LIMITS: Final = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
    }
)
_NAMED: Final = frozenset({"$defs", "definitions", "properties"})
_LISTED: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})


def strict_schema(schema: msgspec.Raw) -> dict[str, Any]:
    """The schema, held as strictly as it can be."""
    return _closed(msgspec.json.decode(schema, type=dict[str, Any]))


def _strict(schema: Any) -> Any:
    return _closed(schema) if isinstance(schema, dict) else schema


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    strict: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _LIMITS:
            limits[name] = value
        elif name in _NAMED and isinstance(value, dict):
            strict[name] = {key: _strict(inner) for key, inner in value.items()}
        elif name in _LISTED and isinstance(value, list):
            strict[name] = [_strict(inner) for inner in value]
        elif name == "items":
            strict[name] = _strict(value)
        else:
            strict[name] = value
    if limits:
        told = ", ".join(f"{name}: {msgspec.json.encode(limits[name]).decode()}" for name in limits)
        strict["description"] = f"{strict.get('description', '')} ({told})".strip()
    if strict.get("type") == "object" or "properties" in strict:
        strict["additionalProperties"] = False
    return strict
