"""What a format makes of what was pasted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from services.key_vault.domain.egress import EgressAllowed
from shared.events.credential_secrets import CredentialSecret
from shared.events.credentials import Deployment, Resource
from shared.events.envelope import Refused
from shared.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a format looks at beside the text: the operator's allowed addresses, and the time."""

    egress_allowed: EgressAllowed
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model that the text names, to be looked up in the catalog, and the path where it stands."""

    slug: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSecret:
    """A pasted secret that is right. All but `secret` may be shown.

    Attributes:
        secret: what goes into the ciphertext.
        label: the masked key.
        deployments: the models it serves, None where it serves all of its provider's.
        resources: whole Azure resources, which serve the models that no deployment is for.
        named_models: the models that it names; each must be in the catalog.
    """

    secret: CredentialSecret = field(repr=False)
    label: str
    deployments: tuple[Deployment, ...] | None = None
    resources: tuple[Resource, ...] = ()
    named_models: tuple[NamedModel, ...] = ()


Format: TypeAlias = Callable[[Secret, Conditions], ParsedSecret | Refused]
"""Reads what was pasted, or says what is wrong with it without repeating any of it."""

KEY = "key"
"""The path of the pasted secret in refusals; parts of it are `key.api_key`, `key[1].api_key`."""
