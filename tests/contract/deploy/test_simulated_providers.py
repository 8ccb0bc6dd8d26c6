"""A stack without endpoints of its own calls the simulator alone, and pays it at every provider."""

import json
from pathlib import Path

from deploy.local.options import read_json_of_strings
from deploy.local.places import Places
from deploy.local.private_files import read_json
from deploy.local.service_account import public_keys, service_account
from deploy.local.simulator import simulator_credentials, simulator_endpoints
from services.dispatcher.outbound.providers.registry import ENDPOINT_NAMES, SLUGS, open_providers
from services.key_vault.domain.formats.parsed_secret import Conditions, ParsedSecret
from services.key_vault.domain.formats.registry import format_of
from shared.clock import SystemClock
from shared.events.credential_secrets import CredentialSecret
from shared.events.envelope import Refused
from shared.secret import Secret
from tests.contract.providers.builders import attempt
from tests.simulator.app import running_simulator
from tests.simulator.call_log import CallLog

MODEL = "openai/gpt-4o"


def places_of(root: Path) -> Places:
    places = Places(root=root)
    places.make()
    return places


def as_kept(provider: str, pasted: str, port: int) -> CredentialSecret:
    """What key_vault makes of a platform credential."""
    taken = format_of(provider)
    assert not isinstance(taken, Refused)
    allowed = frozenset({f"127.0.0.1:{port}"})
    parsed = taken(Secret(pasted), Conditions(egress_allowed=allowed, now=SystemClock().now()))
    assert isinstance(parsed, ParsedSecret), (provider, parsed)
    return parsed.secret


async def test_every_provider_is_simulated_and_takes_its_platform_credential(
    tmp_path: Path,
) -> None:
    places = places_of(tmp_path)
    account = service_account(places)
    known = read_json(Path(public_keys(places)))
    assert known is not None
    async with running_simulator(CallLog(SystemClock(), id_prefix="test")) as simulator:
        for email, public_key in known.items():
            simulator.accounts.put(email, public_key)
        port = simulator.port
        endpoints = simulator_endpoints("127.0.0.1", port)
        credentials = simulator_credentials("127.0.0.1", port, [MODEL], account)

        # azure's own credentials name its address
        assert endpoints.keys() == ENDPOINT_NAMES
        assert credentials.keys() == SLUGS
        async with open_providers(
            endpoints=endpoints,
            egress_allow=frozenset({f"127.0.0.1:{port}"}),
            clock=SystemClock(),
        ) as providers:
            for provider, pasted in credentials.items():
                secret = as_kept(provider, pasted, port)
                to = attempt(provider, model=MODEL, provider_model="gpt-4o")
                assert await providers[provider].check(to, secret) is None, provider


def test_platform_credentials_may_be_given_for_every_provider(tmp_path: Path) -> None:
    given = simulator_credentials("127.0.0.1", 1, [MODEL], service_account(places_of(tmp_path)))
    pasted = {
        provider: json.loads(text) if text.startswith(("{", "[")) else text
        for provider, text in given.items()
    }
    file = tmp_path / "platform.json"
    file.write_text(json.dumps(pasted), encoding="utf-8")

    read = read_json_of_strings(str(file), name="PLATFORM_CREDENTIALS")

    assert read.keys() == SLUGS
    for provider, text in read.items():
        assert as_kept(provider, text, 1) == as_kept(provider, given[provider], 1)


def test_the_service_account_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    places = places_of(tmp_path)

    first = service_account(places)
    again = service_account(places_of(tmp_path))
    told = Path(public_keys(places))

    assert again == first
    assert "PRIVATE" not in told.read_text(encoding="utf-8")
    for file in places.secrets.iterdir():
        assert file.stat().st_mode & 0o077 == 0
    assert places.secrets.stat().st_mode & 0o077 == 0
