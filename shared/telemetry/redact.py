"""A net under the logs: what looks like a secret is masked, wherever it stands.

Code must not log secrets in the first place (`shared.secret.Secret`); this catches what slips
through: a provider's error text, a library's exception, a header in a dictionary.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

MASK = "***"
_DEPTH_MAX = 12
_SHORTEST = 8  # nothing shorter than this can match a pattern below

_SHAPES = re.compile(
    r"""
      -----BEGIN[ ][A-Z0-9 ]+-----.*?(?:-----END[ ][A-Z0-9 ]+-----|\Z)   # PEM
    | (?<![A-Za-z0-9])sk-[A-Za-z0-9_\-]{8,}                    # sk-..., sk-or-v1-..., sk-ant-...
    | (?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{12,}                  # AWS access key ids
    | ABSK[A-Za-z0-9+/=]{16,}                                  # Bedrock API keys
    | bedrock-api-key-[A-Za-z0-9+/=_\-]{8,}
    | AIza[A-Za-z0-9_\-]{16,}                                  # Google API keys
    | ya29\.[A-Za-z0-9_.\-]{8,}                                # Google access tokens
    | eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*  # JWT
    | vault:v\d+:[A-Za-z0-9+/=]+                               # Transit ciphertext
    | (?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_\-]{8,}              # Vault tokens
    | (?<![A-Za-z0-9])whsec_[A-Za-z0-9+/=_\-]{8,}             # secrets of webhooks
    | (?<![A-Za-z0-9])[sb]\.[A-Za-z0-9]{20,}                   # the same, older and OpenBao's
    """,
    re.VERBOSE | re.DOTALL,
)
# What follows a telling name; the name stays readable.
_NAMED = re.compile(
    r"""
      (?P<scheme>\b(?:bearer|basic)\s+)(?=\S{6})[A-Za-z0-9._~+/=\-]+
    | (?P<user>://[^\s:/@]*:)[^\s@/]+(?=@)
    | (?P<name>
          (?:authorization|password|passwd|passphrase
            |(?:api|private|secret|access|account|subscription)[_\-]?key
            |secret[_\-]?access[_\-]?key|client[_\-]?secret|secret[_\-]?id
            |(?:[a-z]+[_\-])?(?:token|secret)|signature|(?<=[?&])(?:key|sig))
          \\?["']?\s*[:=]\s*(?:b?\\?["'])?)
      (?!\s|\*\*\*|bearer\b|basic\b|none\b|null\b|true\b|false\b)[^\s"'\\,;&)}\]]{3,}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# One of these stands in everything that a pattern above finds. Looking for them costs a tenth of the
# patterns, and nearly no text has one.
_HINTS = (
    *("-----begin", "sk-", "akia", "asia", "absk", "bedrock-", "aiza", "ya29.", "eyj", "vault:v"),
    *("whsec_", "hvs.", "hvb.", "hvr.", "s.", "b.", "bearer", "basic", "://"),
    *("auth", "pass", "key", "secret", "token", "sig"),
)
_OF_IDS = b"0123456789abcdef-gen\n"
"""Text of these characters alone, such as ids joined by line ends, holds no hint."""
_REMEMBERED_MAX = 4096
_REMEMBERED_LENGTH_MAX = 64
_PLAIN = frozenset({int, float, bool, type(None)})
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    {"secret", "password", "passwd", "passphrase", "authorization", "cookie", "apikey"}
)
_SECRET_LAST_WORDS = frozenset({"key", "token", "keys"})


def scrub(text: str) -> str:
    """The text without what looks like a secret."""
    if len(text) < _SHORTEST or not _is_suspicious(text):
        return text
    return _NAMED.sub(_keep_name, _SHAPES.sub(MASK, text))


def redact(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one return for each kind
    """A copy of a value made of plain JSON types, scrubbed all through.

    Numbers, booleans and None pass; dates and decimals become text; of bytes only the length stays;
    anything else stands as its scrubbed repr.
    """
    match value:
        case str():
            return scrub(value)
        case None | bool() | int() | float():
            return value
        case _ if depth >= _DEPTH_MAX:
            return "..."
        case Mapping():
            return redact_fields(value, depth)
        case list() | tuple() | set() | frozenset():
            return [redact(each, depth + 1) for each in value]
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case datetime():
            return value.isoformat()
        case Decimal():
            return str(value)
        case _:
            return scrub(repr(value))


def redact_fields(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """The fields of a mapping, scrubbed; what stands under a telling name is masked as a whole."""
    try:
        # A usual line is found clean in one look at what is no number and no word of every line.
        new = [v for v in {*fields.values()} - _remembered if type(v) not in _PLAIN]
        is_clean = (not new or _are_clean_texts(new)) and _are_clean_names(tuple(fields))
    except TypeError:  # there is more than text in it
        is_clean = False
    if is_clean:
        return dict(fields)
    clean: dict[str, Any] = {}
    for key, value in fields.items():
        name, is_secret = _judge_name(key if type(key) is str else str(key))
        if type(value) in _PLAIN:  # a number is no secret, and "is there one?" may be known
            clean[name] = value
        elif is_secret:
            clean[name] = MASK
        else:
            clean[name] = redact(value, depth + 1)
    return clean


_remembered: set[str] = set()
"""Short texts that were found clean: most of a line's words are those of the line before."""


def _are_clean_texts(texts: list[str]) -> bool:
    """Whether none of them is suspicious; TypeError when one is no text."""
    joined = "\n".join(texts)
    if not joined.encode("utf-8", "replace").translate(None, _OF_IDS):
        return True
    if _is_suspicious(joined):
        return False
    if len(_remembered) > _REMEMBERED_MAX:
        _remembered.clear()
    _remembered.update(text for text in texts if len(text) <= _REMEMBERED_LENGTH_MAX)
    return True


def _is_suspicious(text: str) -> bool:
    lowered = text.lower()
    for hint in _HINTS:  # noqa: SIM110 - any() with a generator takes twice as long, at every line
        if hint in lowered:
            return True
    return False


@lru_cache(maxsize=1024)
def _are_clean_names(names: tuple[object, ...]) -> bool:
    """Whether all names may be shown, with what stands under them when that is clean itself."""
    return all(type(name) is str and _judge_name(name) == (name, False) for name in names)


@lru_cache(maxsize=1024)
def _judge_name(name: str) -> tuple[str, bool]:
    """The name as it may be shown, and whether what stands under it is a secret."""
    return scrub(name), _names_a_secret(name)


def _names_a_secret(name: str) -> bool:
    """Whether a value under this name is one: `api_key`, `x-vault-token`, `secretAccessKey`.

    Not `prompt_tokens`, `key_hash` or `secret_revision`.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    return words[-1] in _SECRET_LAST_WORDS or (
        not _SECRET_WORDS.isdisjoint(words) and words[-1] not in {"revision", "count", "name"}
    )


def _keep_name(match: re.Match[str]) -> str:
    return f"{match['scheme'] or match['user'] or match['name']}{MASK}"
