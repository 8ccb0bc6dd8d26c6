"""What a format makes of what was pasted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from services.key_vault.domain.egress import EgressAllowed
from shared.events.credential_secrets import CredentialSecret
from shared.events.credentials import Deployment
from shared.events.envelope import Refused
from shared.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSecret:
    """A pasted secret that is right. All but `secret` may be shown.

    Attributes:
        secret: what goes into the ciphertext.
        label: the masked key.
        deployments: the models it serves, None where it serves all of its provider's.
    """

    secret: CredentialSecret = field(repr=False)
    label: str
    deployments: tuple[Deployment, ...] | None = None


Format: TypeAlias = Callable[[Secret, EgressAllowed], ParsedSecret | Refused]
"""Reads what was pasted, or says what is wrong with it without repeating any of it."""

KEY = "key"
"""The path of the pasted secret in refusals; parts of it are `key.api_key`, `key[1].api_key`."""
