"""Reading one YAML mapping field by field, noting every problem instead of stopping at the first.

A reader that finds a field wrong notes why and returns a stand-in; whoever reads must look at
`problems` before using anything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from shared.money import parse_price

_TOKENS_MAX = 100_000_000
_KINDS: Mapping[type, str] = {
    bool: "a boolean",
    float: "a float",
    int: "a number",
    str: "a text",
    list: "such a list",
    dict: "a mapping",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, and where: `endpoints[0].prices.prompt`; empty for the file as a whole."""

    file: str
    path: str
    message: str

    @override
    def __str__(self) -> str:
        """One line for people."""
        where = f"{self.file}: {self.path}" if self.path else self.file
        return f"{where}: {self.message}"


class Fields:
    """One mapping of a file. `finish` reports the fields that nobody asked for."""

    def __init__(
        self, content: Mapping[str, Any], *, file: str, path: str, problems: list[Problem]
    ) -> None:
        """`path` leads to the mapping; problems are added to `problems`."""
        self._content = content
        self._file = file
        self._path = path
        self._problems = problems
        self._asked: set[str] = set()

    def path_of(self, name: str) -> str:
        """Where a field is, counted from the top of the file."""
        return f"{self._path}.{name}" if self._path else name

    def note(self, name: str, message: str) -> None:
        """Note a problem with a field."""
        self._problems.append(Problem(file=self._file, path=self.path_of(name), message=message))

    def text(self, name: str, *, pattern: re.Pattern[str] | None = None, example: str = "") -> str:
        """A text that is not empty and matches the whole of `pattern`."""
        value = self._required(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.note(name, f"must be a text that is not empty, not {_kind(value)}")
            return ""
        if pattern is not None and pattern.fullmatch(value) is None:
            self.note(name, f"{value!r} is not of the form {example!r}")
        return value.strip()

    def tokens(self, name: str) -> int:
        """A number of tokens, at least 1."""
        return self._integer(name, 1, _TOKENS_MAX)

    def no_tokens(self, name: str) -> int:
        """A number of tokens that can only be 0."""
        return self._integer(name, 0, 0)

    def tokens_or_most(self, name: str) -> int:
        """A number of tokens to compare with; where it is wrong, which `tokens` notes, no limit."""
        value = self._content.get(name)
        return value if isinstance(value, int) and value > 0 else _TOKENS_MAX

    def unix_seconds(self, name: str) -> int:
        """A moment as whole seconds since 1970."""
        return self._integer(name, 0, 2**40)

    def boolean(self, name: str) -> bool:
        """An optional true or false; false when it is absent."""
        self._asked.add(name)
        value = self._content.get(name, False)
        if not isinstance(value, bool):
            self.note(name, f"must be true or false, not {_kind(value)}")
            return False
        return value

    def texts(self, name: str) -> list[str]:
        """A list of different texts, at least one."""
        value = self._required(name)
        if value is None:
            return []
        if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
            self.note(name, f"must be a list of at least one text, not {_kind(value)}")
            return []
        if len(set(value)) < len(value):
            self.note(name, "names something twice")
        return list(value)

    def has(self, name: str) -> bool:
        """Whether the mapping says anything of a field."""
        return self._content.get(name) is not None

    def optional_text(self, name: str, *, among: Sequence[str]) -> str | None:
        """One of some words, or None when it is absent."""
        self._asked.add(name)
        value = self._content.get(name)
        if value is not None and value not in among:
            self.note(name, f"must be one of {', '.join(among)}")
            return None
        return value

    def optional_texts(
        self,
        name: str,
        *,
        among: Sequence[str] = (),
        pattern: re.Pattern[str] | None = None,
        example: str = "",
    ) -> list[str]:
        """A list of different texts, each one of `among` or of the form; empty when it is absent."""
        self._asked.add(name)
        if self._content.get(name) is None:
            return []
        texts = self.texts(name)
        for index, text in enumerate(texts):
            if among and text not in among:
                self.note(f"{name}[{index}]", f"must be one of {', '.join(among)}")
            elif pattern is not None and pattern.fullmatch(text) is None:
                self.note(f"{name}[{index}]", f"{text!r} is not of the form {example!r}")
        return texts

    def price(self, name: str) -> int:
        """A price in pico-USD from a decimal string of USD."""
        value = self._required(name)
        return 0 if value is None else self._price(name, value)

    def optional_price(self, name: str) -> int | None:
        """A price that may be absent."""
        self._asked.add(name)
        value = self._content.get(name)
        return None if value is None else self._price(name, value)

    def price_or_none(self, name: str) -> int | None:
        """A price to compare with; None where it is absent or wrong, which `price` notes."""
        value = self._content.get(name)
        try:
            return parse_price(value) if isinstance(value, str) else None
        except ValueError:
            return None

    def optional_part(self, name: str) -> "Fields | None":
        """A mapping inside this one that may be absent."""
        self._asked.add(name)
        return None if self._content.get(name) is None else self.part(name)

    def part(self, name: str) -> "Fields":
        """A mapping inside this one."""
        value = self._required(name)
        if value is not None and not isinstance(value, dict):
            self.note(name, f"must be a mapping, not {_kind(value)}")
        return self._inner(self.path_of(name), value)

    def parts(self, name: str) -> list["Fields"]:
        """A list of mappings, at least one."""
        value = self._required(name)
        if value is None:
            return []
        if not isinstance(value, list) or not value or not all(isinstance(x, dict) for x in value):
            self.note(name, f"must be a list of at least one mapping, not {_kind(value)}")
            return []
        return [
            self._inner(f"{self.path_of(name)}[{index}]", inner)
            for index, inner in enumerate(value)
        ]

    def finish(self) -> None:
        """Note every field that is not known."""
        for name in self._content:
            if name not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.note(str(name), f"is not a known field (known here: {known})")

    def _inner(self, path: str, value: Any) -> "Fields":
        if isinstance(value, dict):
            return Fields(value, file=self._file, path=path, problems=self._problems)
        # The mapping itself is wrong and noted: what it lacks is no further problem.
        return Fields({}, file=self._file, path=path, problems=[])

    def _required(self, name: str) -> Any:
        self._asked.add(name)
        value = self._content.get(name)
        if value is None:
            self.note(name, "is missing")
        return value

    def _integer(self, name: str, least: int, most: int) -> int:
        value = self._required(name)
        if value is None:
            return least
        if isinstance(value, bool) or not isinstance(value, int):
            self.note(name, f"must be a whole number, not {_kind(value)}")
            return least
        if not least <= value <= most:
            self.note(name, f"must be from {least} to {most}")
        return value

    def _price(self, name: str, value: Any) -> int:
        if not isinstance(value, str):
            self.note(
                name,
                'must be USD per token as a decimal text in quotes, such as "0.0000025", '
                f"not {_kind(value)}",
            )
            return 0
        if re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII) is None:
            self.note(name, f'must be plain digits such as "0.0000025", not {value!r}')
            return 0
        try:
            return parse_price(value)
        except ValueError as problem:
            self.note(name, f"{value} {problem} (12 places are kept)")
            return 0


def _kind(value: Any) -> str:
    kind = _KINDS.get(type(value), f"a {type(value).__name__}")
    empty = isinstance(value, str | list | dict) and not value
    return f"{kind} of nothing" if empty else kind
