"""API keys of Amazon Bedrock, each bound to one region.

A long-term key (`ABSK...`) does not say its region. A short-term one is `bedrock-api-key-` and, in
base64, a request that is signed in advance: `bedrock.amazonaws.com/?Action=CallWithBearerToken&...`
with the region in `X-Amz-Credential` and its end in `X-Amz-Date` and `X-Amz-Expires`
(docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html, and AWS's own token generators).
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from services.key_vault.domain.formats.aws_region import is_region
from services.key_vault.domain.formats.parsed_secret import KEY, ParsedSecret
from services.key_vault.domain.formats.plain_string import problem_of_key
from services.key_vault.domain.label import label_of_access_key, label_with_prefix
from services.key_vault.domain.refusals import invalid
from shared.events.credential_secrets import BedrockApiKeySecret
from shared.events.envelope import Refused

CHARACTERS_MAX: Final = 16_384
"""A short-term key holds a session token, which may itself be thousands of characters long."""
REGION_DEFAULT: Final = "us-east-1"
_LONG_TERM: Final = "ABSK"
_SHORT_TERM: Final = "bedrock-api-key-"
_LONG_TERM_FORM: Final = re.compile(r"ABSK[A-Za-z0-9+/_-]{28,1024}={0,2}")
_ACCESS_KEY_ID: Final = re.compile(r"A[KS]IA[A-Z0-9]{12,124}")
_SCOPE_PARTS: Final = 5
_SERVICE: Final = "bedrock"
_SIGNED_AT: Final = "%Y%m%dT%H%M%SZ"
_EXPIRES: Final = re.compile(r"[0-9]{1,6}")
_QUERY_FIELDS_MAX: Final = 32
_UNREADABLE: Final = (
    "This short-term key cannot be read; copy it again, whole, from bedrock-api-key- to its end."
)
_NO_REGION: Final = (
    "This short-term key does not say its region; make a new one in the Amazon Bedrock console."
)


def read_api_key(
    value: str, region: str | None, now: datetime, *, path: str
) -> ParsedSecret | Refused:
    """The key with its region. `region` is what was said beside it; `path` is where the key stands."""
    problem = problem_of_key(value, characters_max=CHARACTERS_MAX)
    if problem is not None:
        return invalid(path, problem)
    if value.startswith(_SHORT_TERM):
        return _read_short_term(value, region, now, path)
    if value.startswith(_LONG_TERM):
        if _LONG_TERM_FORM.fullmatch(value) is None:
            return invalid(path, "This long-term key is not whole; copy it again, from ABSK on.")
        return ParsedSecret(
            secret=BedrockApiKeySecret(api_key=value, region=region or REGION_DEFAULT),
            label=label_with_prefix(_LONG_TERM, value),
        )
    if _ACCESS_KEY_ID.fullmatch(value):
        return invalid(
            path,
            "This is the id of an AWS access key; paste JSON with accessKeyId, secretAccessKey and "
            "region.",
        )
    return invalid(path, "An API key of Amazon Bedrock begins with ABSK or bedrock-api-key-.")


def _read_short_term(
    value: str, region: str | None, now: datetime, path: str
) -> ParsedSecret | Refused:
    query = _signed_query(value.removeprefix(_SHORT_TERM))
    if query is None:
        return invalid(path, _UNREADABLE)
    scope = query.get("X-Amz-Credential", "").split("/")
    if len(scope) != _SCOPE_PARTS or not is_region(scope[2]):
        return invalid(path, _NO_REGION)
    access_key_id, _, bound_to, service, _ = scope
    if service != _SERVICE or _ACCESS_KEY_ID.fullmatch(access_key_id) is None:
        return invalid(path, _UNREADABLE)
    if region not in {None, bound_to}:
        return invalid(
            f"{KEY}.region",
            "region is another one than this short-term key is bound to; leave region out.",
        )
    ended = _end(query)
    if ended is not None and ended <= now:
        at = ended.strftime("%Y-%m-%d %H:%M:%S")
        return invalid(path, f"This short-term key expired at {at} UTC; make a new one.")
    return ParsedSecret(
        secret=BedrockApiKeySecret(api_key=value, region=bound_to),
        label=label_of_access_key(access_key_id),
    )


def _signed_query(encoded: str) -> Mapping[str, str] | None:
    """The query of the request inside a key, None when there is none to be read."""
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        text = b64decode(padded, validate=True).decode("ascii")
        pairs = parse_qsl(
            text.partition("?")[2], keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX
        )
    except (binascii.Error, ValueError):
        return None
    query = dict(pairs)
    return query if "X-Amz-Signature" in query and len(query) == len(pairs) else None


def _end(query: Mapping[str, str]) -> datetime | None:
    """When the key ends by its own text; it may end earlier, with the session that made it."""
    seconds = query.get("X-Amz-Expires", "")
    if _EXPIRES.fullmatch(seconds) is None:
        return None
    try:
        signed_at = datetime.strptime(query.get("X-Amz-Date", ""), _SIGNED_AT).replace(tzinfo=UTC)
        return signed_at + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        return None
