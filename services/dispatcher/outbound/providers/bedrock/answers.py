"""What botocore hands back of Bedrock's answers: bodies, counts and the request's id."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.dispatcher.domain.reply import upstream_id
from services.dispatcher.outbound.egress import ANSWER_BYTES_MAX, AnswerTooLarge

_INPUT_TOKENS: Final = "x-amzn-bedrock-input-token-count"
_PIECE_BYTES: Final = 64 * 1024


class _Body(Protocol):
    """botocore's body of an answer; to be closed."""

    async def read(self, amt: int | None = None) -> bytes: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked:
    """What InvokeModel answered; `input_tokens` is Bedrock's own count."""

    body: bytes
    input_tokens: int | None
    request_id: str | None


async def read_invoked(answer: Mapping[str, Any]) -> Invoked:
    """All of an answer of InvokeModel; AnswerTooLarge, and what reading a body raises."""
    return Invoked(
        body=await _read(answer["body"]),
        input_tokens=_counted(answer),
        request_id=request_id(answer),
    )


async def _read(body: _Body) -> bytes:
    """All of it, below the limit of every answer, which egress leaves to who reads a stream."""
    read: list[bytes] = []
    left = ANSWER_BYTES_MAX
    with closing(body):
        while piece := await body.read(_PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise AnswerTooLarge
            read.append(piece)
    return b"".join(read)


def _counted(answer: Mapping[str, Any]) -> int | None:
    told = answer["ResponseMetadata"]["HTTPHeaders"].get(_INPUT_TOKENS, "")
    return int(told) if told.isascii() and told.isdigit() else None


def request_id(answer: Mapping[str, Any]) -> str | None:
    """What AWS names an answer by, to whoever asks about it; it stands in a header alone."""
    return upstream_id(answer["ResponseMetadata"].get("RequestId"))
