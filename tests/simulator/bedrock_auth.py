"""Who calls Bedrock: a bearer key bound to its region, or a signature (SigV4) that is reckoned again.

Made-up rules, so that a test knows every secret: a key's region stands in the key (`ABSK...eu-west-1...`),
else it is us-east-1; the secret of an access key id is `secret_of` it, its session token `token_of`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.simulator.errors import ErrorAnswer

REGION_DEFAULT: Final = "us-east-1"
CLOCK_SKEW_MAX: Final = timedelta(minutes=5)

_SIGNED: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/, ]+)/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/"
    r"(?P<service>[a-z-]+)/aws4_request, SignedHeaders=(?P<signed>[a-z0-9;-]+), "
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_REGION: Final = re.compile(r"(?:us|eu|ap|ca|sa|me|af)-[a-z]+-\d")
_MUST_BE_SIGNED: Final = frozenset({"host", "x-amz-date"})
_SIGNED_AT: Final = "%Y%m%dT%H%M%SZ"


def secret_of(access_key_id: str) -> str:
    """The secret access key, 40 characters as AWS's are."""
    return f"secret/of/{access_key_id}".ljust(40, "+")[:40]


def token_of(access_key_id: str) -> str:
    """The session token of a temporary id (`ASIA...`)."""
    return f"session-token-of-{access_key_id}"


def region_of(api_key: str) -> str:
    """The one region in which a bearer key works."""
    found = _REGION.search(api_key)
    return REGION_DEFAULT if found is None else found[0]


def refusal(status: int, kind: str, message: str, **headers: str) -> ErrorAnswer:
    """An error as AWS says it: the type in a header, with the address of nothing behind it."""
    return ErrorAnswer(
        status=status,
        body={"message": message},
        headers={"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/", **headers},
    )


def presented(http: web.Request) -> str | None:
    """The key, or the id of the key that signed; None when there is neither."""
    told = http.headers.get("Authorization", "")
    if told.startswith("Bearer "):
        return told.removeprefix("Bearer ")
    found = _SIGNED.fullmatch(told)
    return None if found is None else found["key"]


def why_not(http: web.Request, body: bytes, now: datetime) -> ErrorAnswer | None:
    """None when the call is whom it says; whether the key is known is not looked at."""
    region = http.match_info["region"]
    told = http.headers.get("Authorization")
    if told is None:
        return refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if told.startswith("Bearer "):
        if region_of(told) != region:
            return invalid_api_key()
        return None
    found = _SIGNED.fullmatch(told)
    if found is None:
        return refusal(
            403,
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter.",
        )
    return _why_not_signed(http, body, found, now)


def invalid_api_key() -> ErrorAnswer:
    """403, for a bearer key that is not known here."""
    return refusal(
        403,
        "AccessDeniedException",
        "Authentication failed: Please make sure your API Key is valid.",
    )


def invalid_access_key() -> ErrorAnswer:
    """403, for an id that is not known, or a token that is not its own."""
    return refusal(
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def _why_not_signed(
    http: web.Request, body: bytes, found: re.Match[str], now: datetime
) -> ErrorAnswer | None:
    signed = frozenset(found["signed"].split(";"))
    at = http.headers.get("X-Amz-Date", "")
    if not signed >= _MUST_BE_SIGNED or not at.startswith(found["day"]):
        return refusal(
            403, "InvalidSignatureException", "'Host' or 'x-amz-date' must be a signed header."
        )
    why = None
    if (found["region"], found["service"]) != (http.match_info["region"], "bedrock"):
        why = "Credential should be scoped to a valid region."
    elif abs(datetime.strptime(at, _SIGNED_AT).replace(tzinfo=UTC) - now) > CLOCK_SKEW_MAX:
        why = f"Signature expired: {at} is now earlier than allowed"
    if why is not None:
        return refusal(403, "InvalidSignatureException", why)
    token = http.headers.get("X-Amz-Security-Token")
    wanted = token_of(found["key"]) if found["key"].startswith("ASIA") else None
    if token != wanted or (token is not None and "x-amz-security-token" not in signed):
        return invalid_access_key()
    if _signature(http, body, found, signed) != found["signature"]:
        return refusal(
            403,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method.",
        )
    return None


def _signature(http: web.Request, body: bytes, found: re.Match[str], signed: frozenset[str]) -> str:
    """By botocore's own reckoning, over what came in."""
    request = AWSRequest(
        method=http.method, url=f"{http.scheme}://{http.host}{http.raw_path}", data=body
    )
    for name, value in http.headers.items():
        if name.lower() in signed and name.lower() != "host":
            request.headers[name] = value
    keys = Credentials(found["key"], secret_of(found["key"]))
    signer = SigV4Auth(keys, found["service"], found["region"])
    request.context["timestamp"] = http.headers["X-Amz-Date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))
