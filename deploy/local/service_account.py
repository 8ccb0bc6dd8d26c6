"""A Google service account that the provider simulator knows, made up once for a stack.

What a person would download from Google, its private key among it, is kept in a file of the stack's
secrets; the simulator is told of the public half alone.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from deploy.local.places import Places
from deploy.local.private_files import read_json, write_private_json

_PROJECT = "simulated-project"
_KEY_BITS = 2048
_KEY_ID_BYTES = 20


def service_account(places: Places) -> str:
    """The JSON key of the stack's own account, as it would be pasted; the first call makes it."""
    file = places.secrets / "simulated-service-account.json"
    kept = read_json(file)
    if kept is None:
        kept = new_service_account("platform")
        write_private_json(file, kept)
    return json.dumps(kept)


def public_keys(places: Places) -> str:
    """The path of a file with the public key of the stack's account, by its address."""
    account = json.loads(service_account(places))
    file = places.secrets / "simulated-public-keys.json"
    told = {account["client_email"]: public_key_of(account)}
    if read_json(file) != told:
        write_private_json(file, told)
    return str(file)


def public_key_of(account: Mapping[str, Any]) -> str:
    """What Google keeps of a service account: the public half of its key, in PEM."""
    private = load_pem_private_key(account["private_key"].encode(), password=None)
    form = PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(Encoding.PEM, form).decode()


def new_service_account(name: str) -> dict[str, Any]:
    """An account with a key of its own, as Google's console gives it out."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": _PROJECT,
        "private_key_id": secrets.token_hex(_KEY_ID_BYTES),
        "private_key": pem,
        "client_email": f"{name}@{_PROJECT}.iam.gserviceaccount.com",
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "universe_domain": "googleapis.com",
        "region": "global",
    }
