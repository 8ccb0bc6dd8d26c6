"""What a wire answers when it refuses: a status, a body in its own shape, and headers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """An error as it goes to the client; `body` is the whole JSON object, `in_list` puts it into a list."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    in_list: bool = False

    @property
    def content(self) -> Any:
        """What is written."""
        return [self.body] if self.in_list else self.body


class Cause(StrEnum):
    """Why a request is refused before its script is asked."""

    BAD_JSON = "bad_json"
    UNKNOWN_ARGUMENT = "unknown_argument"
    MISSING_PARAMETER = "missing_parameter"
    INVALID_TYPE = "invalid_type"
    INVALID_VALUE = "invalid_value"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"


class RequestRefused(Exception):  # noqa: N818 - the name is what happened
    """A body that the provider does not take. `code` and `param` as in OpenAI's error object."""

    def __init__(self, cause: Cause, message: str, *, param: str | None = None) -> None:
        """Keep the parts of the 400 that follows."""
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.param = param

    @property
    def code(self) -> str | None:
        """OpenAI's `code`; the two oldest kinds have none."""
        match self.cause:
            case Cause.BAD_JSON | Cause.UNKNOWN_ARGUMENT:
                return None
            case Cause.MISSING_PARAMETER:
                return "missing_required_parameter"
            case _:
                return self.cause.value
