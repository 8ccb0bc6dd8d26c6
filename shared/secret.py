"""A value that does not print, does not pickle and cannot be put into an event."""

import hmac
from typing import Final, NoReturn, final

from typing_extensions import override

_SHOWN: Final = "Secret(***)"


@final
class Secret:
    """Wraps a secret text; only `reveal` gives it back, so that every use can be found by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call it where the secret leaves for its destination, nowhere else."""
        return self._value

    @override
    def __repr__(self) -> str:
        return _SHOWN

    @override
    def __str__(self) -> str:
        return _SHOWN

    @override
    def __format__(self, format_spec: str) -> str:
        return _SHOWN

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment] # a secret is no dictionary key

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")
