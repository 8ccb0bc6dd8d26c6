"""OpenRouter's request for embeddings as far as it is checked here.

Fields that nobody knows pass, and so do values that only a provider can judge, such as a length of
vectors. The client's own bytes travel on, sealed.
"""

from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.chat_request import ChatRequest, ProviderPreferences
from services.ingress.domain.client_identifiers import Identifier, problem_of
from services.ingress.domain.json_input import read_json
from services.ingress.domain.refusals import Refusal
from shared.events.generations import Operation

INPUTS_MAX: Final = 2048
"""Inputs of one request; OpenAI's own limit."""
_ENCODINGS: Final = ("float", "base64")
_CHOICES: Final = {"encoding_format": _ENCODINGS}

Token: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /embeddings. `input` is one text, texts, the tokens of one text, or those of several."""

    OPERATION: ClassVar[Operation] = "embeddings"

    model: str
    input: str | list[str | Token | list[Token]]
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    input_type: str | None = None
    provider: ProviderPreferences | None = None
    user: Identifier | None = None
    session_id: Identifier | None = None

    @property
    def requested_models(self) -> tuple[str, ...]:
        """The one model: vectors of another could not be compared with its own."""
        return (self.model,)

    @property
    def is_streamed(self) -> bool:
        """Never."""
        return False

    @property
    def is_byok_only(self) -> bool:
        """Whether this request keeps away from shared capacity."""
        return self.provider is not None and bool(self.provider.byok_only)


AnyRequest: TypeAlias = ChatRequest | EmbeddingsRequest


def read_embeddings_request(body: bytes) -> EmbeddingsRequest | Refusal:
    """The request, or what is wrong with it and where."""
    read = read_json(body, EmbeddingsRequest, choices=_CHOICES)
    if isinstance(read, Refusal):
        return read
    unclean = problem_of(user=read.user, session_id=read.session_id)
    return unclean or _problem_of(read.input) or read


def _problem_of(given: str | list[str | int | list[int]]) -> Refusal | None:
    if not given:
        return refusals.invalid("must not be empty", field="input")
    if isinstance(given, str) or all(isinstance(each, int) for each in given):
        return None
    if len(given) > INPUTS_MAX:
        message = f"has {len(given)} inputs; a request takes at most {INPUTS_MAX}"
        return refusals.invalid(message, field="input")
    kind = str if isinstance(given[0], str) else list
    for at, each in enumerate(given):
        if not isinstance(each, kind):
            message = "texts and tokens cannot stand in one request"
            return refusals.invalid(message, field=f"input[{at}]")
        if not each:
            return refusals.invalid("must not be empty", field=f"input[{at}]")
    return None
