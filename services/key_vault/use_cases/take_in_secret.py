"""From the sealed text that a person pasted to the ciphertext that is kept."""

from services.key_vault.domain.credential import KeptSecret
from services.key_vault.domain.formats.named_models import unknown_model
from services.key_vault.domain.formats.parsed_secret import KEY, Conditions
from services.key_vault.domain.formats.registry import format_of
from services.key_vault.domain.refusals import invalid
from services.key_vault.ports import Ports
from shared.events.credential_secrets import encode_secret
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    credential_context,
    intake_context,
)
from shared.events.envelope import Refused


async def take_in_secret(
    ports: Ports, command: AddCredential | ChangeCredential, provider: str, sealed_key: str
) -> KeptSecret | Refused:
    """Check and encrypt a pasted secret; nothing is stored yet. Raises Unavailable.

    The plaintext lives in this function alone.
    """
    parse = format_of(provider)
    if isinstance(parse, Refused):
        return parse
    account_id, credential_id = command.account_id, command.credential_id
    pasted = await ports.encryption.open_pasted(
        sealed_key, context=intake_context(account_id, credential_id, command.command_id)
    )
    if pasted is None:
        return invalid(KEY, "The key could not be read; send it again as text.")
    parsed = parse(pasted, Conditions(egress_allowed=ports.egress_allowed, now=ports.clock.now()))
    if isinstance(parsed, Refused):
        return parsed
    if parsed.named_models:
        refused = unknown_model(parsed.named_models, ports.catalog.slugs())
        if refused is not None:
            return refused
    ciphertext = await ports.encryption.encrypt(
        encode_secret(parsed.secret), context=credential_context(account_id, credential_id)
    )
    return KeptSecret(
        ciphertext=ciphertext,
        label=parsed.label,
        deployments=parsed.deployments,
        resources=parsed.resources,
    )
