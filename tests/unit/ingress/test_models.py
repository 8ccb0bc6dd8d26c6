from services.ingress.domain.models import check_models

KNOWN = frozenset({"openai/gpt-4o", "openai/gpt-4o-mini", "mistralai/mistral-large"})


def test_a_known_model_passes() -> None:
    assert check_models(["openai/gpt-4o"], KNOWN) is None


def test_an_unknown_model_is_refused_with_the_nearest_ones() -> None:
    refusal = check_models(["openai/gpt-4o", "mistral/mistral-large"], KNOWN)
    assert refusal is not None
    assert "did you mean mistralai/mistral-large" in refusal.message


def test_nothing_near_points_to_the_list() -> None:
    refusal = check_models(["zzzz" * 1000], KNOWN)
    assert refusal is not None
    assert refusal.message.endswith("GET /api/v1/models lists them")
    assert len(refusal.message) < 250


def test_a_model_that_embeds_is_no_model_to_chat_with() -> None:
    refusal = check_models(["openai/gpt-4o"], KNOWN, embedding={"openai/gpt-4o"})
    assert refusal is not None
    assert refusal.status == 400
    assert refusal.message == "model: openai/gpt-4o makes embeddings and does not chat"
