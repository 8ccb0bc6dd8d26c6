from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.request import (
    MODELS_MAX,
    ChatRequest,
    UnreadableRequest,
    read_request,
)
from tests.unit.dispatcher.made import body, request


def test_models_are_those_named_once_each_in_order_and_bounded() -> None:
    assert request(model="a/a", models=["b/b", "a/a"]).models == ("a/a", "b/b")
    assert len(request(models=[f"m/{number}" for number in range(99)]).models) == MODELS_MAX


def test_either_name_of_the_token_limit_counts_and_the_newer_wins() -> None:
    assert request(max_tokens=7).max_tokens == 7
    assert request(max_completion_tokens=8).max_tokens == 8
    assert request(max_tokens=7, max_completion_tokens=8).max_tokens == 8


def test_adapters_get_the_clients_fields_as_they_were_sent_without_routing() -> None:
    found = request(temperature=0.50, provider={"zdr": True}, usage={"include": True}, stream=True)
    assert set(found.fields) == {"messages", "temperature"}
    assert bytes(found.fields["temperature"]) == b"0.5"
    assert found.stream


def test_display_names_of_providers_become_slugs() -> None:
    found = request(provider={"order": ["Google Vertex"], "ignore": ["OpenAI"]})
    assert found.preferences.order == ("google-vertex",)
    assert found.preferences.ignore == ("openai",)


def test_nulls_are_the_same_as_nothing() -> None:
    found = request(models=None, provider=None, stream=None, max_tokens=None, n=None)
    assert (found.stream, found.max_tokens, found.choices_wanted) == (False, None, 1)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_refused_in_words(garbage: bytes) -> None:
    assert isinstance(read_request(garbage), UnreadableRequest)


def test_a_request_without_model_or_messages_is_refused() -> None:
    for wrong in (body(model=None), b'{"model":"a/b"}', body(stream="yes"), body(models=[1])):
        found = read_request(wrong)
        assert isinstance(found, UnreadableRequest)
        assert found.message


def test_prompt_bytes_count_what_a_provider_reads() -> None:
    short, long = request(), request(tools=["x" * 100])
    assert isinstance(short, ChatRequest)
    assert long.prompt_bytes - short.prompt_bytes == 104
