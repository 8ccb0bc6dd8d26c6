"""A good model as YAML, and a folder to put changed ones into."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Model = dict[str, Any]
WriteModel = Callable[..., Path]


@pytest.fixture
def good_model() -> Model:
    return {
        "slug": "acme/parrot-1",
        "name": "Acme: Parrot 1",
        "created": 1_700_000_000,
        "description": "Repeats what it hears.",
        "context_length_tokens": 8_000,
        "output_tokens_max": 2_000,
        "capabilities": {
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "GPT",
            "supported_parameters": ["max_tokens", "temperature"],
        },
        "endpoints": [
            {
                "provider": "acme",
                "provider_name": "Acme",
                "model": "parrot-1-large",
                "prices": {
                    "prompt": "0.0000025",
                    "completion": "0.00001",
                    "input_cache_read": "0.00000125",
                },
                "context_length_tokens": 8_000,
                "output_tokens_max": 2_000,
            },
            {
                "provider": "azure",
                "provider_name": "Azure",
                "model": "parrot",
                "prices": {"prompt": "0.000000000001", "completion": "1", "request": "0.5"},
                "context_length_tokens": 8_000,
                "output_tokens_max": 1_000,
                "byok_only": True,
            },
        ],
    }


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Write a model as YAML; gives the folder."""

    def write(model: Model, name: str = "parrot.yaml") -> Path:
        (tmp_path / name).write_text(yaml.safe_dump(model, sort_keys=False))
        return tmp_path

    return write
