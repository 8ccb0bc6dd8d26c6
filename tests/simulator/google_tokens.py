"""Google's token endpoint: a signed assertion of a service account in, an access token out.

Protocol: RFC 7523 and developers.google.com/identity/protocols/oauth2/service-account; texts of errors as
the endpoint answers them. Only accounts whose public key is known get a token.
"""

import binascii
import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.clock import Clock, SystemClock

AUDIENCE: Final = "https://oauth2.googleapis.com/token"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_SECONDS: Final = 3599
LIFE_SECONDS_MAX: Final = 3600
SKEW_SECONDS: Final = 300
ACCOUNTS_MAX: Final = 10_000
TOKEN_PREFIX: Final = "ya29.c.simulated-"


class _NoToken(Exception):  # noqa: N818 - the name is what happened
    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.body = {"error": error, "error_description": description}


_SHORT_LIVED: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check "
    "your iat and exp values in the JWT claim."
)


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    iat: int
    exp: int
    scope: str = ""


@dataclass(slots=True)
class ServiceAccounts:
    """The accounts that there are, by address, and the access tokens that they hold.

    `mints` counts the tokens that were given out; `seconds` is how long they say they live.
    """

    seconds: int = TOKEN_SECONDS
    mints: int = 0
    _clock: Clock = field(default_factory=SystemClock)
    _keys: dict[str, RSAPublicKey] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)

    def put(self, email: str, public_key: str) -> None:
        """Make an account known, with its public key in PEM. ValueError when that is no RSA key."""
        key = load_pem_public_key(public_key.encode())
        if not isinstance(key, RSAPublicKey):
            raise ValueError("a service account has an RSA key")  # noqa: TRY004 - its text is wrong
        if len(self._keys) >= ACCOUNTS_MAX and email not in self._keys:
            raise ValueError(f"at most {ACCOUNTS_MAX} service accounts can be known")
        self._keys[email] = key

    def holder_of(self, token: str) -> str | None:
        """The account that holds this token."""
        return self._tokens.get(token)

    def end_tokens(self) -> None:
        """Make every token worthless, as happens before its hour is over."""
        self._tokens.clear()

    def mint(self, assertion: str) -> str:
        """A token for a right assertion; raises _NoToken."""
        claims = self._verified(assertion)
        if claims.aud != AUDIENCE:
            raise _NoToken("invalid_grant", "Invalid JWT: Failed audience check.")
        if claims.scope != SCOPE:
            raise _NoToken("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        now = self._clock.now().timestamp()
        is_short = 0 < claims.exp - claims.iat <= LIFE_SECONDS_MAX
        if not is_short or abs(claims.iat - now) > SKEW_SECONDS or claims.exp < now:
            raise _NoToken("invalid_grant", _SHORT_LIVED)
        token = TOKEN_PREFIX + secrets.token_urlsafe(24)
        self._tokens[token] = claims.iss
        self.mints += 1
        return token

    def _verified(self, assertion: str) -> _Claims:
        head, _, rest = assertion.partition(".")
        payload, _, signature = rest.partition(".")
        try:
            header = msgspec.json.decode(_bytes(head), type=dict[str, Any])
            claims = msgspec.json.decode(_bytes(payload), type=_Claims)
            signed = _bytes(signature)
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            raise _NoToken("invalid_grant", "Invalid JWT: malformed.") from None
        key = self._keys.get(claims.iss)
        if key is None:
            raise _NoToken("invalid_grant", "Invalid grant: account not found")
        if header.get("alg") != "RS256" or not header.get("kid"):
            raise _NoToken("invalid_grant", "Invalid JWT Signature.")
        try:
            key.verify(signed, f"{head}.{payload}".encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise _NoToken("invalid_grant", "Invalid JWT Signature.") from None
        return claims


def _bytes(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


class _PutAccount(msgspec.Struct, forbid_unknown_fields=True):
    public_key: str


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Handlers of the token endpoint and of the control route that makes accounts known."""

    accounts: ServiceAccounts

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.post("/token", self._token),
            web.put("/_control/service_accounts/{email}", self._put),
        ]

    async def _token(self, http: web.Request) -> web.Response:
        form = await http.post()
        if form.get("grant_type") != GRANT_TYPE:
            wrong = _NoToken("unsupported_grant_type", "Invalid grant_type.")
            return web.json_response(wrong.body, status=400)
        try:
            token = self.accounts.mint(str(form.get("assertion", "")))
        except _NoToken as problem:
            return web.json_response(problem.body, status=400)
        return web.json_response(
            {"access_token": token, "expires_in": self.accounts.seconds, "token_type": "Bearer"}
        )

    async def _put(self, http: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await http.read(), type=_PutAccount)
            self.accounts.put(http.match_info["email"], given.public_key)
        except (msgspec.MsgspecError, ValueError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response({"known": True})
