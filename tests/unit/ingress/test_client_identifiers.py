"""What a client names its own user and session by: kept as it is, or refused by its field's name."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.ingress.domain.chat_request import ChatRequest, read_chat_request
from services.ingress.domain.client_identifiers import CHARACTERS_MAX, session_of
from services.ingress.domain.embeddings_request import EmbeddingsRequest, read_embeddings_request
from services.ingress.domain.refusals import Refusal

Read = Callable[[bytes], ChatRequest | EmbeddingsRequest | Refusal]
READERS: list[tuple[Read, dict[str, Any]]] = [
    (read_chat_request, {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
    (read_embeddings_request, {"model": "m", "input": "hi"}),
]
UNCLEAN = ["a\nb", "\x1b[31m", "tab\t", "\x7f", "\x85", "line\u2028end"]


def sent(asked: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(asked | fields).encode()


@pytest.mark.parametrize(("read", "asked"), READERS)
@pytest.mark.parametrize("field", ["user", "session_id"])
def test_what_is_too_long_or_unclean_is_refused_by_name(
    read: Read, asked: dict[str, Any], field: str
) -> None:
    for value in ("x" * (CHARACTERS_MAX + 1), *UNCLEAN):
        refused = read(sent(asked, **{field: value}))
        assert isinstance(refused, Refusal), value
        assert (refused.status, refused.error_type) == (400, "invalid_request")
        assert refused.message.startswith(f"{field}: ")
        assert value not in refused.message
    for good in ("x" * CHARACTERS_MAX, "ada@example 1", "émile\u00a0👩\u200d💻", "", None):
        assert not isinstance(read(sent(asked, **{field: good})), Refusal), good


def test_the_session_of_the_body_wins_over_the_header() -> None:
    assert session_of({"X-Session-Id": "header"}, "body") == "body"
    assert session_of({"X-Session-Id": "header"}, None) == "header"
    assert session_of({}, None) is None


def test_a_header_that_is_no_identifier_is_refused_by_name() -> None:
    # as aiohttp gives bytes that are no UTF-8
    for value in ("x" * (CHARACTERS_MAX + 1), "a\x00", "\udcff"):
        refused = session_of({"X-Session-Id": value}, None)
        assert isinstance(refused, Refusal)
        assert refused.message.startswith("X-Session-Id: ")
        assert value not in refused.message
