"""What a Bedrock credential proves itself with, and what must not be told of it."""

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.outbound.bedrock_client import (
    AwsCredentials,
    BedrockApiKey,
    BedrockIdentity,
)
from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.header_keys import WRONG_SECRET, fits_a_header
from services.dispatcher.ports import ProviderSecret
from shared.events.credential_secrets import AwsSecret, BedrockApiKeySecret


def identity_of(secret: ProviderSecret) -> BedrockIdentity | ProviderFailure:
    """The identity of a secret; a failure for one that is not Bedrock's, or fits no header."""
    match secret:
        case BedrockApiKeySecret():
            key = secret.api_key.strip()
            if not fits_a_header(key):
                return WRONG_SECRET
            return BedrockApiKey(api_key=key, region=secret.region)
        case AwsSecret():
            told = (secret.access_key_id, secret.session_token or "-")
            if not all(map(fits_a_header, told)) or not secret.secret_access_key:
                return WRONG_SECRET
            return AwsCredentials(
                access_key_id=secret.access_key_id,
                secret_access_key=secret.secret_access_key,
                region=secret.region,
                session_token=secret.session_token,
            )
        case _:
            return WRONG_SECRET


def failure_reader(identity: BedrockIdentity) -> FailureReader:
    """Reads failures without repeating any part of the identity."""
    match identity:
        case BedrockApiKey():
            return FailureReader(identity.api_key)
        case AwsCredentials():
            others = (identity.access_key_id, identity.session_token or "")
            return FailureReader(identity.secret_access_key, tuple(filter(None, others)))
