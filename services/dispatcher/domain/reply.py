"""What a provider answers, in OpenAI's terms, whatever it speaks itself.

`ReplyDelta` and `Choice` are those of `shared.events.replies`, so that nothing is translated twice
on its way to the client. `finish_reason` is normalised; the provider's own word stands in
`native_finish_reason`.
"""

import msgspec

from services.dispatcher.domain.failure import ProviderFailure
from shared.events.replies import Choice, ReplyDelta
from shared.events.usage import Usage

UPSTREAM_ID_CHARACTERS_MAX = 256
"""What is longer is no id; those of providers have 20 to 70 characters."""


def upstream_id(told: object) -> str | None:
    """The provider's own id of an answer; None for what is none.

    It is anybody's text, and facts hold no content: only a short one in printable ASCII is kept.
    """
    if not isinstance(told, str) or not 0 < len(told) <= UPSTREAM_ID_CHARACTERS_MAX:
        return None
    return told if told.isascii() and told.isprintable() else None


class WholeReply(msgspec.Struct, frozen=True, kw_only=True):
    """A completion that was not streamed. `usage` is None when the provider did not tell.

    `upstream_id` is the provider's own id of the answer.
    """

    choices: list[Choice]
    usage: Usage | None
    upstream_id: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """A vector for each input, in their order: little-endian 32 bit floats as base64.

    `usage` is None when the provider did not tell. `upstream_id` is the provider's own id of the
    answer, where one call gave it all.
    """

    vectors: list[str]
    usage: Usage | None
    upstream_id: str | None = None

    def in_parts(self, *, bytes_max: int) -> list[list[str]]:
        """The vectors in parts of about `bytes_max`, at least one part and one vector in each."""
        each = max(1, bytes_max // max(1, len(self.vectors[0]) if self.vectors else 1))
        return [self.vectors[at : at + each] for at in range(0, len(self.vectors), each)] or [[]]


class AnswerNamed(msgspec.Struct, frozen=True):
    """The provider's own id of its answer, told once and as early as it is known."""

    upstream_id: str


class UsageSeen(msgspec.Struct, frozen=True):
    """The provider told usage before its end, for what it has counted so far; the last one holds."""

    usage: Usage


class StreamEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The stream came to its proper end: terminator or finish reason seen, nothing cut.

    `usage` None means that the last `UsageSeen` holds, or that the provider did not tell.
    """

    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


StreamPiece = AnswerNamed | ReplyDelta | UsageSeen | StreamEnded | ProviderFailure
"""The last piece of a stream is always a StreamEnded or a ProviderFailure, and nothing follows it."""
