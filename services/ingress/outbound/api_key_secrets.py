"""Making API keys."""

import secrets

from services.ingress.domain import api_key
from shared.secret import Secret


def new_api_key() -> Secret:
    """A fresh one: 256 random bits."""
    return Secret(api_key.PREFIX + secrets.token_hex(api_key.SECRET_HEX_DIGITS // 2))
