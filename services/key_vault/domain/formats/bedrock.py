"""Amazon Bedrock's format: an API key, or AWS credentials as a JSON object.

An API key is the text itself, or `{"apiKey", "region"}`; AWS credentials are `{"accessKeyId",
"secretAccessKey", "region"}`, with `sessionToken` when they are temporary.
"""

from typing import Any, Final

from services.key_vault.domain.formats.aws_credentials import read_aws_credentials
from services.key_vault.domain.formats.aws_region import REGION_RULE, is_region
from services.key_vault.domain.formats.bedrock_key import read_api_key
from services.key_vault.domain.formats.object_fields import (
    Fields,
    read_strings,
    read_value,
    without_blanks,
)
from services.key_vault.domain.formats.parsed_secret import KEY, Conditions, ParsedSecret
from services.key_vault.domain.refusals import invalid
from shared.events.envelope import Refused
from shared.secret import Secret

_API_KEY: Final = Fields(required=("apiKey",), optional=("region",))


def parse_bedrock(pasted: Secret, conditions: Conditions) -> ParsedSecret | Refused:
    """Read an API key or AWS credentials."""
    text = without_blanks(pasted.reveal())
    if not text.startswith(("{", "[")):
        return read_api_key(text, None, conditions.now, path=KEY)
    value = read_value(text, KEY)
    if isinstance(value, Refused):
        return value
    if isinstance(value, dict) and "apiKey" in value:
        return _read_api_key_object(value, conditions)
    return read_aws_credentials(value)


def _read_api_key_object(value: Any, conditions: Conditions) -> ParsedSecret | Refused:
    given = read_strings(value, KEY, _API_KEY)
    if isinstance(given, Refused):
        return given
    region = given.get("region")
    if region is not None and not is_region(region):
        return invalid(f"{KEY}.region", REGION_RULE)
    api_key = without_blanks(given["apiKey"])
    return read_api_key(api_key, region, conditions.now, path=f"{KEY}.apiKey")
