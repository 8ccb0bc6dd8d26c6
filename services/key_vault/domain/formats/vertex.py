"""Google Vertex's format: the JSON key of a service account, with an optional `region`.

Fields that are not needed are dropped, for Google adds some now and then: `client_id`, addresses of
certificates, and `bucket`, which is for batches. Where tokens come from is not for the text to say.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from services.key_vault.domain.formats.object_fields import (
    Fields,
    read_strings,
    read_value,
    without_blanks,
)
from services.key_vault.domain.formats.parsed_secret import KEY, Conditions, ParsedSecret
from services.key_vault.domain.formats.private_key import problem_of_private_key
from services.key_vault.domain.label import label_of_service_account
from services.key_vault.domain.refusals import invalid
from shared.events.credential_secrets import VertexSecret
from shared.events.envelope import Refused
from shared.secret import Secret

TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
UNIVERSE_DOMAIN: Final = "googleapis.com"
REGION_DEFAULT: Final = "global"
_FIELDS: Final = Fields(
    required=("type", "project_id", "private_key_id", "private_key", "client_email"),
    optional=("token_uri", "universe_domain", "region"),
    drops_unknown=True,
)
_TYPE: Final = "service_account"
_PROJECT: Final = re.compile(r"(?:[a-z][a-z0-9.-]{0,61}[a-z0-9]:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_KEY_ID: Final = re.compile(r"[0-9a-f]{40}")
_EMAIL: Final = re.compile(
    r"[a-z0-9][a-z0-9-]{0,62}@(?:[a-z0-9][a-z0-9-]{0,62}\.){1,8}gserviceaccount\.com"
)
_REGION: Final = re.compile(r"global|us|eu|[a-z]{2,12}-[a-z]{4,12}[1-9][0-9]?")


def parse_vertex(pasted: Secret, _conditions: Conditions) -> ParsedSecret | Refused:
    """Read a service account's key."""
    text = without_blanks(pasted.reveal())
    if not text.startswith(("{", "[")):
        return invalid(
            KEY, "Google Vertex takes the JSON key of a service account, the whole file's content."
        )
    value = read_value(text, KEY)
    if isinstance(value, Refused):
        return value
    given = read_strings(value, KEY, _FIELDS)
    if isinstance(given, Refused):
        return given
    for name, problem_of in _PROBLEMS.items():
        problem = problem_of(given[name]) if name in given else None
        if problem is not None:
            return invalid(f"{KEY}.{name}", problem)
    return _parsed(given)


def _parsed(given: Mapping[str, str]) -> ParsedSecret:
    return ParsedSecret(
        secret=VertexSecret(
            project_id=given["project_id"],
            private_key_id=given["private_key_id"],
            private_key=given["private_key"],
            client_email=given["client_email"],
            region=given.get("region", REGION_DEFAULT),
        ),
        label=label_of_service_account(given["client_email"], given["private_key_id"]),
    )


def _must_match(form: re.Pattern[str], rule: str) -> Callable[[str], str | None]:
    return lambda text: None if form.fullmatch(text) else rule


def _must_be(expected: str, rule: str) -> Callable[[str], str | None]:
    return lambda text: None if text == expected else rule


_PROBLEMS: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        "type": _must_be(
            _TYPE,
            "type must be service_account; create a JSON key under IAM & Admin, Service Accounts.",
        ),
        "project_id": _must_match(
            _PROJECT,
            "project_id must be a Google Cloud project's id: 6 to 30 lower-case letters, digits and "
            "inner dashes.",
        ),
        "private_key_id": _must_match(
            _KEY_ID, "private_key_id must be the key's id: 40 lower-case hexadecimal digits."
        ),
        "client_email": _must_match(
            _EMAIL,
            "client_email must be a service account's address, like "
            "name@project.iam.gserviceaccount.com.",
        ),
        "token_uri": _must_be(
            TOKEN_URI, f"token_uri must be {TOKEN_URI}: keys are sent to Google alone."
        ),
        "universe_domain": _must_be(
            UNIVERSE_DOMAIN, f"universe_domain must be {UNIVERSE_DOMAIN}; no other is served."
        ),
        "region": _must_match(
            _REGION,
            "region must be global, us, eu, or one region like us-central1 or europe-west1.",
        ),
        # the last, since loading a key costs more than all the rest
        "private_key": problem_of_private_key,
    }
)
"""What is looked at, in order."""
