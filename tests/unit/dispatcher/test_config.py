from pathlib import Path

import pytest

from services.dispatcher.config import provider_endpoints


def test_provider_endpoints_are_an_object_or_a_file_with_one(tmp_path: Path) -> None:
    written = '{"openai": "http://127.0.0.1:9300/v1/"}'
    expected = (("openai", "http://127.0.0.1:9300/v1"),)
    assert provider_endpoints(written) == expected
    file = tmp_path / "endpoints.json"
    file.write_text(written)
    assert provider_endpoints(str(file)) == expected


@pytest.mark.parametrize("wrong", ["[]", "{", "/no/such/file", '{"openai": 1}', '{"openai": "x"}'])
def test_anything_else_is_refused_in_words(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        provider_endpoints(wrong)
