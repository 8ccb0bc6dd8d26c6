"""AWS credentials: an access key, long-term or temporary, and the region to use it in."""

import re
from typing import Any, Final

from services.key_vault.domain.formats.aws_region import REGION_RULE, is_region
from services.key_vault.domain.formats.object_fields import Fields, read_strings, without_blanks
from services.key_vault.domain.formats.parsed_secret import KEY, ParsedSecret
from services.key_vault.domain.label import label_of_access_key
from services.key_vault.domain.refusals import invalid
from shared.events.credential_secrets import AwsSecret
from shared.events.envelope import Refused

_FIELDS: Final = Fields(
    required=("accessKeyId", "secretAccessKey", "region"), optional=("sessionToken",)
)
_ID: Final = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{12,124}")
_SECRET: Final = re.compile(r"[A-Za-z0-9/+=]{40}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9/+=_-]{16,8192}")
_TEMPORARY: Final = "ASIA"


def read_aws_credentials(value: Any) -> ParsedSecret | Refused:
    """The credentials, or what is wrong with them."""
    given = read_strings(value, KEY, _FIELDS)
    if isinstance(given, Refused):
        return given
    values = {name: without_blanks(text) for name, text in given.items()}
    for name, text in values.items():
        problem = _problem_of(name, text)
        if problem is not None:
            return invalid(f"{KEY}.{name}", problem)
    access_key_id, session_token = values["accessKeyId"], values.get("sessionToken")
    if access_key_id.startswith(_TEMPORARY) and session_token is None:
        return invalid(
            f"{KEY}.sessionToken",
            "Missing: sessionToken. An accessKeyId that begins with ASIA is temporary and needs it.",
        )
    if session_token is not None and not access_key_id.startswith(_TEMPORARY):
        return invalid(
            f"{KEY}.sessionToken",
            "sessionToken goes with a temporary accessKeyId (ASIA...), not with a long-term one.",
        )
    return ParsedSecret(
        secret=AwsSecret(
            access_key_id=access_key_id,
            secret_access_key=values["secretAccessKey"],
            region=values["region"],
            session_token=session_token,
        ),
        label=label_of_access_key(access_key_id),
    )


def _problem_of(name: str, text: str) -> str | None:
    match name:
        case "accessKeyId" if _ID.fullmatch(text) is None:
            return "accessKeyId must begin with AKIA or ASIA, followed by upper-case letters and digits."
        case "secretAccessKey" if _SECRET.fullmatch(text) is None:
            return "secretAccessKey must be the 40 characters that AWS showed beside accessKeyId."
        case "sessionToken" if _TOKEN.fullmatch(text) is None:
            return "sessionToken must be the token that AWS gave, in one piece."
        case "region" if not is_region(text):
            return REGION_RULE
        case _:
            return None
