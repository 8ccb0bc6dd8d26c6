"""Settings: frozen dataclasses whose fields say which environment variable they come from.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class BillingConfig:
        postgres: PostgresConfig
        fee_percent: Decimal = setting("BYOK_FEE_PERCENT", "what a request costs", example="5")

Dataclasses compose by nesting. Every problem is reported at once; a variable that is set to nothing
counts as not set, unless its setting says otherwise. The environment is handed in, read once in `__main__`.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from shared.config import parsers
from shared.errors import OpenRouteError
from shared.secret import Secret

T = TypeVar("T")

_METADATA = "openroute.setting"
_PARSERS: Mapping[type, Callable[[str], Any]] = types.MappingProxyType(
    {
        str: parsers.text,
        int: parsers.integer,
        bool: parsers.boolean,
        float: parsers.positive_seconds,
        Decimal: parsers.decimal,
        Path: parsers.path,
        Secret: parsers.secret,
    }
)


class ConfigProblems(OpenRouteError):  # noqa: N818 - it carries several
    """What is wrong with the environment: one line a problem, none of them showing a secret."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems."""
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One setting, for documents. `default` is None where the variable must be set."""

    name: str
    meaning: str
    example: str
    default: str | None
    secret: bool


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    meaning: str
    example: str
    parse: Callable[[str], Any] | None
    secret: bool
    refuses_empty: bool


def setting(
    name: str,
    meaning: str,
    *,
    example: str,
    default: Any = MISSING,
    parse: Callable[[str], Any] | None = None,
    secret: bool = False,
    refuses_empty: bool = False,
) -> Any:
    """A dataclass field that is read from the variable `name`.

    `meaning` is one line for documents. Without `default` the variable must be set. Without `parse`
    the annotation decides: str, int, bool, float (seconds), Decimal, Path, Secret, and `X | None`
    of these, whose default is None. `parse` raises ValueError with what the value must be. The
    value of a `secret` is never shown in a problem; a field of type Secret is one by itself. With
    `refuses_empty` a variable that is set to nothing is a problem: what was meant to protect would
    be silently off.
    """
    metadata = {_METADATA: _Setting(name, meaning, example, parse, secret, refuses_empty)}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A setting together with its field's type and default."""

    field_name: str
    setting: _Setting
    parse: Callable[[str], Any]
    default: Any
    secret: bool


def load(config_type: type[T], environment: Mapping[str, str]) -> T:
    """Build a configuration, or raise ConfigProblems with everything that is wrong."""
    problems: list[str] = []
    config = _build(config_type, environment, problems)
    if config is None or problems:
        raise ConfigProblems(list(dict.fromkeys(problems)))
    return config


def describe(config_type: type) -> list[SettingDescription]:
    """Every setting of a configuration, nested ones too, in the order of the fields."""
    descriptions: dict[str, SettingDescription] = {}
    for part in _parts(config_type):
        if isinstance(part, _Bound):
            found = [
                SettingDescription(
                    name=part.setting.name,
                    meaning=part.setting.meaning,
                    example=part.setting.example,
                    default=None if part.default is MISSING else _as_text(part.default),
                    secret=part.secret,
                )
            ]
        else:
            found = describe(part[1])
        descriptions.update({each.name: each for each in found})
    return list(descriptions.values())


def _build(config_type: type[T], environment: Mapping[str, str], problems: list[str]) -> T | None:
    values: dict[str, Any] = {}
    problems_before = len(problems)
    for part in _parts(config_type):
        if isinstance(part, _Bound):
            values[part.field_name] = _read(part, environment, problems)
        else:
            values[part[0]] = _build(part[1], environment, problems)
    if len(problems) > problems_before:
        return None
    try:
        return config_type(**values)
    except ValueError as error:  # what a dataclass's own __post_init__ finds across its fields
        problems.append(str(error))
        return None


def _read(bound: _Bound, environment: Mapping[str, str], problems: list[str]) -> Any:
    name, example = bound.setting.name, bound.setting.example
    value = environment.get(name, "").strip()
    if not value:
        if bound.setting.refuses_empty and name in environment:
            problems.append(
                f"{name} is set to nothing: leave it out, or give it (example: {example})"
            )
            return None
        if bound.default is MISSING:
            problems.append(f"{name} is not set: {bound.setting.meaning} (example: {example})")
            return None
        return bound.default
    try:
        return bound.parse(value)
    except ValueError as error:
        # An address can hold a password before its "@", whatever the setting is meant for.
        shown = "" if bound.secret or "@" in value else f", not {value!r}"
        problems.append(f"{name} {error}{shown} (example: {example})")
        return None


def _parts(config_type: type) -> Iterator[_Bound | tuple[str, type]]:
    """The settings of a dataclass, and its nested dataclasses with their field's name."""
    hints = typing.get_type_hints(config_type)
    for each in dataclasses.fields(config_type):
        declared = each.metadata.get(_METADATA)
        annotation = hints[each.name]
        if declared is not None:
            yield _bind(each.name, declared, annotation, each.default)
        elif dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            yield each.name, annotation
        else:
            raise TypeError(f"{config_type.__name__}.{each.name} is neither a setting nor nested")


def _bind(field_name: str, declared: _Setting, annotation: Any, default: Any) -> _Bound:
    alternatives = set(typing.get_args(annotation)) if _is_union(annotation) else {annotation}
    if type(None) in alternatives:
        alternatives.discard(type(None))
        default = None if default is MISSING else default
    kind = alternatives.pop() if len(alternatives) == 1 else None
    parse = declared.parse or _PARSERS.get(kind)  # type: ignore[arg-type] # None is in no table
    if parse is None:
        raise TypeError(f"{field_name}: no parser for {annotation}; give one with parse=")
    is_secret = declared.secret or kind is Secret
    return _Bound(field_name, declared, parse, default, is_secret)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in {typing.Union, types.UnionType}


def _as_text(default: Any) -> str:
    match default:
        case None | Secret():
            return ""
        case bool():
            return str(default).lower()
        case tuple() | list() | frozenset():
            return ",".join(str(each) for each in default)
        case _:
            return str(default)
