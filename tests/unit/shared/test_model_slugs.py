from shared.model_slugs import nearest

KNOWN = frozenset({"openai/gpt-4o", "openai/gpt-4o-mini", "mistralai/mistral-large"})


def test_a_name_without_its_author_is_understood() -> None:
    assert nearest("gpt-4o", KNOWN)[0] == "openai/gpt-4o"


def test_another_author_is_forgiven() -> None:
    assert nearest("azure/mistral-large", KNOWN)[0] == "mistralai/mistral-large"


def test_there_are_three_at_most_and_none_where_nothing_is_near() -> None:
    many = frozenset(f"openai/gpt-{number}" for number in range(9))
    assert len(nearest("openai/gpt", many)) == 3
    assert nearest("zzzz", KNOWN) == []
