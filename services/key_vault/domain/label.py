"""The label: as much of a provider key as its owner needs to recognise it."""

import re
from typing import Final

_SHOWN_FROM_CHARACTERS: Final = 20
_TAIL_CHARACTERS: Final = 4
_ID_HEAD_CHARACTERS: Final = 4
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,5}-")
"""A maker's mark such as `sk-`; a longer first group may be part of the secret itself."""
_ACCOUNT_DOMAIN: Final = ".iam.gserviceaccount.com"


def label_of(key: str) -> str:
    """`sk-...AbCd`; `...AbCd` for a key without such a prefix, `...` for one shorter than 20."""
    prefix = _PREFIX.match(key)
    return label_with_prefix(prefix[0] if prefix else "", key)


def label_with_prefix(prefix: str, key: str) -> str:
    """The same with a prefix that all keys of this kind have."""
    if len(key) < _SHOWN_FROM_CHARACTERS:
        return "..."
    return f"{prefix}...{key[-_TAIL_CHARACTERS:]}"


def label_of_several(keys: list[str]) -> str:
    """The first key's label, with ` (+2)` where two more keys stand behind it."""
    more = len(keys) - 1
    return f"{label_of(keys[0])} (+{more})" if more else label_of(keys[0])


def label_of_access_key(access_key_id: str) -> str:
    """`AKIA...WXYZ`, of AWS's id, which is no secret."""
    return f"{access_key_id[:_ID_HEAD_CHARACTERS]}...{access_key_id[-_TAIL_CHARACTERS:]}"


def label_of_service_account(client_email: str, private_key_id: str) -> str:
    """`name@project ...ab12`: whose key, without Google's domain, and which one of several."""
    account = client_email.removesuffix(_ACCOUNT_DOMAIN)
    return f"{account} ...{private_key_id[-_TAIL_CHARACTERS:]}"
