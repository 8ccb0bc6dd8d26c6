"""How the simulator embeds: plain arithmetic, so that a test can work out every vector by itself.

prompt_tokens = words in all texts, or tokens where the client sends those
a vector      = bytes of a hash of the input, each as (byte - 128) / 256, exact in 32 bit floats
"""

from array import array
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import shake_128
from typing import Final, TypeAlias

from tests.simulator.usage import Usage

Input: TypeAlias = str | list[int]

DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "gemini-embedding-001": 3072,
    "text-embedding-005": 768,
}
DIMENSIONS_DEFAULT: Final = 1024
_HALF, _WHOLE = 128, 256


def is_embedder(model: str) -> bool:
    """Whether a model embeds, and does not chat: by its name."""
    return "embed" in model


def input_tokens(inputs: Sequence[Input]) -> int:
    """The prompt tokens of a request."""
    return sum(len(each.split() if isinstance(each, str) else each) for each in inputs)


def vector(of: Input, dimensions: int) -> list[float]:
    """The vector of an input; of another input it is another."""
    digest = shake_128(repr(of).encode()).digest(dimensions)
    return [(byte - _HALF) / _WHOLE for byte in digest]


def as_base64(values: Sequence[float]) -> str:
    """A vector as OpenAI encodes it: little-endian 32 bit floats."""
    return b64encode(array("f", values).tobytes()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for embeddings, whoever's wire it came by."""

    model: str
    inputs: Sequence[Input]
    dimensions: int | None = None
    base64: bool = False

    @property
    def vectors(self) -> list[list[float]]:
        """The answer."""
        length = self.dimensions or DIMENSIONS.get(self.model, DIMENSIONS_DEFAULT)
        return [vector(each, length) for each in self.inputs]

    @property
    def usage(self) -> Usage:
        """What it costs."""
        return Usage(prompt_tokens=input_tokens(self.inputs), completion_tokens=0)
