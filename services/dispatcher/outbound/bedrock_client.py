"""One client of Amazon Bedrock's runtime for one credential.

Both forms of credential are explicit: an API key goes into the header of a client that does not sign
(a token provider of botocore's would cost a session of its own, 8 MB), AWS credentials sign.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, final

import aioboto3
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from typing_extensions import override

from services.dispatcher.outbound.egress_addresses import EgressForbidden
from services.dispatcher.outbound.egress_botocore import PreparedRequest

_SERVICE: Final = "bedrock-runtime"
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,9}){1,3}-[1-9][0-9]?")
_SUFFIXES: Final = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-iso-", "c2s.ic.gov"),
    ("", "amazonaws.com"),
)
"""AWS' partitions by how their regions begin, with the domain of their services."""


class BedrockClient(Protocol):
    """What is used of botocore's client; answers are as boto3's reference describes them."""

    async def converse(self, **parts: Any) -> dict[str, Any]:
        """Converse, whole."""
        ...

    async def converse_stream(self, **parts: Any) -> dict[str, Any]:
        """ConverseStream; `stream` in the answer yields events and is to be closed."""
        ...

    async def invoke_model(self, **parts: Any) -> dict[str, Any]:
        """InvokeModel; `body` in the answer is to be read."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockApiKey:
    """A bearer key and the one region that it works in. It does not print."""

    api_key: str
    region: str

    @override
    def __repr__(self) -> str:
        return f"BedrockApiKey(region={self.region!r})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """Keys to sign with, temporary ones with their token, and a region. They do not print."""

    access_key_id: str
    secret_access_key: str
    region: str
    session_token: str | None = None

    @override
    def __repr__(self) -> str:
        return f"AwsCredentials(region={self.region!r})"


BedrockIdentity: TypeAlias = BedrockApiKey | AwsCredentials


def runtime_url(region: str) -> str:
    """Where Bedrock's runtime is called in a region. Raises EgressForbidden for what is no region."""
    if _REGION.fullmatch(region) is None:
        raise EgressForbidden("not an AWS region")
    domain = next(domain for start, domain in _SUFFIXES if region.startswith(start))
    return f"https://{_SERVICE}.{region}.{domain}"


@asynccontextmanager
async def open_bedrock_client(
    session: aioboto3.Session,
    identity: BedrockIdentity,
    *,
    endpoint_url: str,
    http_session_cls: Callable[..., object],
) -> AsyncIterator[BedrockClient]:
    """A client of its own; `session` is best one that has made a client before."""
    signer, keys = _signing(identity)
    async with session.client(
        _SERVICE,
        region_name=identity.region,
        endpoint_url=endpoint_url,
        config=AioConfig(
            http_session_cls=http_session_cls,
            signature_version=signer,
            user_agent="openroute",
            # whether to try again is the plan's to decide
            retries={"mode": "standard", "total_max_attempts": 1},
            ignore_configured_endpoint_urls=True,
            # what is wrong with a request is the provider's to say
            parameter_validation=False,
        ),
        **keys,
    ) as client:
        if isinstance(identity, BedrockApiKey):
            client.meta.events.register(f"before-send.{_SERVICE}", _bearer(identity.api_key))
        yield client


def _bearer(api_key: str) -> Callable[..., None]:
    """Sets the header last, after everything that botocore writes to its log."""

    def set_header(request: PreparedRequest, **_event: object) -> None:
        request.headers["Authorization"] = f"Bearer {api_key}"  # type: ignore[index] # botocore's own

    return set_header


def _signing(identity: BedrockIdentity) -> tuple[Any, Mapping[str, str | None]]:
    """How a client signs, which has to be said or a bearer key of the environment is sent, and with what."""
    match identity:
        case BedrockApiKey():
            return UNSIGNED, {}
        case AwsCredentials():
            return "v4", {
                "aws_access_key_id": identity.access_key_id,
                "aws_secret_access_key": identity.secret_access_key,
                "aws_session_token": identity.session_token,
            }
