"""Which of Anthropic's beta features a client asks for: the header `x-anthropic-beta`.

The names become a header of our own call of a provider, so only what looks like one of Anthropic's is
taken: words in lower case and the date of the feature (`context-1m-2025-08-07`, `claude-code-20250219`).
"""

import re
from collections.abc import Sequence
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

HEADER: Final = "x-anthropic-beta"
BETAS_MAX: Final = 16
CHARACTERS_MAX: Final = 64
"""Of one name."""

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*-(?:20\d{2}-\d{2}-\d{2}|20\d{6})")


def read_betas(lines: Sequence[str]) -> list[str] | Refusal:
    """The names in these lines of the header, each once, or what is wrong with them."""
    if not lines:
        return []
    names = [name.strip() for line in lines for name in line.split(",")]
    betas = list(dict.fromkeys(name for name in names if name))
    if len(betas) > BETAS_MAX:
        return refusals.invalid(f"names at most {BETAS_MAX} features", field=HEADER)
    for name in betas:
        if len(name) > CHARACTERS_MAX or _NAME.fullmatch(name) is None:
            return refusals.invalid(
                "is a comma-separated list of Anthropic's beta features, like context-1m-2025-08-07",
                field=HEADER,
            )
    return betas
