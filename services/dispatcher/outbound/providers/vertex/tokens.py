"""Access tokens of service accounts: minted at Google's token endpoint, kept until shortly before they end.

Protocol: RFC 7523 as developers.google.com/identity/protocols/oauth2/service-account has it. google-auth
signs the assertion; it is posted here, through egress, because its own asynchronous transport would
make a session of its own. Nothing is read from the environment, files, or a metadata server.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

import msgspec
from google.auth import crypt, jwt

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.header_keys import WRONG_SECRET, fits_a_header
from services.dispatcher.outbound.single_flight import SingleFlightCache
from shared.clock import Clock
from shared.events.credential_secrets import VertexSecret
from shared.tasks import TaskScope

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Where tokens come from and, whoever stands in for it, whom the assertion is for."""
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
ASSERTION_SECONDS: Final = 3600
"""The longest life that Google allows an assertion; the token has the same."""
EARLY_SECONDS: Final = 300.0
"""A token with less left than this is minted anew, so that none ends in the middle of its way."""
TOKENS_MAX: Final = 10_000
MINT_SECONDS: Final = 15.0
"""Signing and exchange together, past which who waits is told so."""

_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_NOT_A_TOKEN: Final = ProviderFailure(
    failure=FailureClass.PROVIDER_ERROR, status=200, code="not_a_token"
)
_TOO_SLOW: Final = ProviderFailure(failure=FailureClass.TIMED_OUT, code="token_timeout")


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    refresh_at: float


class _NotMinted(Exception):  # noqa: N818 - the name is what happened
    """No token: told to all who wait for it, and not kept."""

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class AccessTokens:
    """The tokens of all credentials, each minted once however many need it at the same time."""

    def __init__(
        self, client: CompletionsClient, *, token_url: str, clock: Clock, scope: TaskScope
    ) -> None:
        """`token_url` is TOKEN_URL or what the operator put in its place; mints run in `scope`."""
        self._client = client
        self._url = token_url
        self._hosts = frozenset({authority_of(token_url)})
        self._clock = clock
        self._tokens: SingleFlightCache[bytes, VertexSecret, _Token] = SingleFlightCache(
            self._mint,
            seconds_max=ASSERTION_SECONDS,
            entries_max=TOKENS_MAX,
            clock=clock,
            scope=scope,
        )

    async def get(self, secret: VertexSecret, *, not_this: str = "") -> str | ProviderFailure:
        """A token that is good for a while. `not_this` is one that the API has just refused."""
        key = _key(secret)
        try:
            token = await self._tokens.get(key, secret)
            if token.text == not_this or self._clock.monotonic() >= token.refresh_at:
                self._tokens.drop_if(lambda kept: kept == key)
                token = await self._tokens.get(key, secret)
        except _NotMinted as problem:
            return problem.failure
        return token.text

    def __len__(self) -> int:
        return len(self._tokens)

    async def _mint(self, secret: VertexSecret) -> _Token:
        try:
            async with asyncio.timeout(MINT_SECONDS):
                return await self._exchange(secret)
        except TimeoutError:
            raise _NotMinted(_TOO_SLOW) from None

    async def _exchange(self, secret: VertexSecret) -> _Token:
        asked_at = self._clock.monotonic()
        now = int(self._clock.now().timestamp())
        try:
            # Loading a key checks that it is one, which takes longer than the loop may be held.
            assertion = await asyncio.to_thread(_assertion, secret, now)
        except ValueError:
            raise _NotMinted(WRONG_SECRET) from None
        body = urlencode({"grant_type": _GRANT_TYPE, "assertion": assertion}).encode()
        answer = await self._client.exchange(
            self._url,
            hosts=self._hosts,
            headers=_HEADERS,
            body=body,
            secrets=(assertion, secret.private_key),
        )
        if isinstance(answer, ProviderFailure):
            raise _NotMinted(_of_exchange(answer))
        try:
            told = _decode_answer(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _NotMinted(_NOT_A_TOKEN) from None
        if not fits_a_header(told.access_token) or not told.expires_in > 0:
            raise _NotMinted(_NOT_A_TOKEN)
        early = min(EARLY_SECONDS, told.expires_in / 2)
        return _Token(told.access_token, asked_at + told.expires_in - early)


def _of_exchange(failure: ProviderFailure) -> ProviderFailure:
    """What the exchange says of the request is ours to answer for, never the client's."""
    if failure.failure is FailureClass.INVALID_REQUEST:
        return replace(failure, failure=FailureClass.MISCONFIGURED)
    return failure


def _assertion(secret: VertexSecret, now: int) -> str:
    """A signed request for a token. ValueError when the private key is none."""
    signer = crypt.RSASigner.from_string(  # type: ignore[no-untyped-call] # google-auth's own
        secret.private_key, secret.private_key_id
    )
    claims = {
        "iss": secret.client_email,
        "scope": SCOPE,
        "aud": TOKEN_URL,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    }
    signed: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call] # google-auth's own
    return signed.decode()


def _key(secret: VertexSecret) -> bytes:
    """Whose token it is; of the key itself only a digest is kept."""
    parts = (secret.client_email, secret.private_key_id, secret.private_key)
    return hashlib.sha256("\n".join(parts).encode()).digest()


@asynccontextmanager
async def open_access_tokens(
    client: CompletionsClient, *, token_url: str, clock: Clock
) -> AsyncIterator[AccessTokens]:
    """Tokens until the block is left."""
    async with TaskScope() as scope:
        yield AccessTokens(client, token_url=token_url, clock=clock, scope=scope)
