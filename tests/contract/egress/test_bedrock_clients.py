"""Clients of Amazon Bedrock: what they send, to whom, with whose credentials, and how many there are."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
import msgspec
import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from services.dispatcher.outbound.bedrock_client import (
    AwsCredentials,
    BedrockApiKey,
    BedrockClient,
    BedrockIdentity,
    runtime_url,
)
from services.dispatcher.outbound.bedrock_clients import BedrockClients, open_bedrock_clients
from services.dispatcher.outbound.egress import AddressForbidden, AnswerTooLarge, open_egress
from services.dispatcher.outbound.egress_addresses import EgressForbidden
from services.dispatcher.outbound.egress_botocore import http_session_for
from services.dispatcher.outbound.providers.registry import open_providers
from shared.clock import SystemClock
from tests.contract.egress.bedrock_stand_in import (
    ANSWER,
    ASKED,
    Frame,
    running_bedrock,
    signature_of,
)
from tests.contract.egress.conftest import Listener, LyingResolver
from tests.contract.providers.handwritten import Handwritten

_API_KEY = BedrockApiKey(api_key="ABSKtest-key-0001", region="us-east-1")
_KEYS = AwsCredentials(
    access_key_id="AKIAEXAMPLE00000001", secret_access_key="s" * 40, region="eu-central-1"
)
_TEMPORARY = AwsCredentials(
    access_key_id="ASIAEXAMPLE00000001",
    secret_access_key="t" * 40,
    region="us-west-2",
    session_token="session-token-0001",
)
_EACH = pytest.mark.parametrize("identity", [_API_KEY, _KEYS, _TEMPORARY], ids=repr)


@dataclass(frozen=True, slots=True)
class Bedrock:
    server: Handwritten
    clients: BedrockClients

    async def converse(self, identity: BedrockIdentity) -> dict[str, Any]:
        async with self.clients.client(identity) as client:
            return await client.converse(**ASKED)


@pytest.fixture
async def bedrock() -> AsyncIterator[Bedrock]:
    async with (
        running_bedrock() as server,
        open_egress(allow=frozenset({f"127.0.0.1:{server.port}"})) as egress,
        open_bedrock_clients(egress, endpoint_url=server.url, clients_max=2) as clients,
    ):
        yield Bedrock(server, clients)


@_EACH
async def test_both_forms_of_credential_are_sent_as_aws_wants_them(
    bedrock: Bedrock, identity: BedrockIdentity
) -> None:
    answer = await bedrock.converse(identity)
    assert answer["output"] == ANSWER["output"]
    (headers,) = bedrock.server.headers
    match identity:
        case BedrockApiKey():
            assert headers["Authorization"] == f"Bearer {identity.api_key}"
            assert "X-Amz-Date" not in headers
        case AwsCredentials():
            assert headers["Authorization"] == signature_of(bedrock.server, 0, identity)
            assert headers.get("X-Amz-Security-Token") == identity.session_token
            assert f"/{identity.region}/bedrock/aws4_request" in headers["Authorization"]
    assert msgspec.json.decode(bedrock.server.bodies[0]) == {"messages": ASKED["messages"]}
    # an ARN's `/` and `:` are encoded, once
    assert bedrock.server.paths == [
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude%3A0/converse"
    ]


@_EACH
async def test_a_refusal_is_told_once_and_not_tried_again(
    bedrock: Bedrock, identity: BedrockIdentity
) -> None:
    bedrock.server.status = 503
    bedrock.server.pieces = [b'{"message":"busy"}']
    bedrock.server.answer_headers = {"x-amzn-ErrorType": "ServiceUnavailableException"}
    with pytest.raises(ClientError) as refused:
        await bedrock.converse(identity)
    assert refused.value.response["Error"] == {
        "Message": "busy",
        "Code": "ServiceUnavailableException",
    }
    assert len(bedrock.server.bodies) == 1


@_EACH
async def test_an_event_stream_comes_as_it_is_sent(
    bedrock: Bedrock, identity: BedrockIdentity
) -> None:
    bedrock.server.answer_headers = {"Content-Type": "application/vnd.amazon.eventstream"}
    text = Frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"hi"}}').encode()
    stop = Frame("messageStop", b'{"stopReason":"end_turn"}').encode()
    bedrock.server.pieces = [text[:7], text[7:] + stop]
    async with bedrock.clients.client(identity) as client:
        answer = await client.converse_stream(**ASKED)
        events = [event async for event in answer["stream"]]
    assert events == [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "hi"}}},
        {"messageStop": {"stopReason": "end_turn"}},
    ]


@_EACH
async def test_a_stream_that_falls_silent_ends(identity: BedrockIdentity) -> None:
    async with (
        running_bedrock() as server,
        open_egress(allow=frozenset({f"127.0.0.1:{server.port}"})) as egress,
        open_bedrock_clients(
            egress,
            endpoint_url=server.url,
            stream=aiohttp.ClientTimeout(total=60, sock_read=0.2),
        ) as clients,
    ):
        server.pieces = [Frame("messageStart", b'{"role":"assistant"}').encode()]
        server.lingers_seconds = 30
        async with clients.client(identity) as client:
            answer = await client.converse_stream(**ASKED)
            with closing(answer["stream"]) as events, pytest.raises(TimeoutError):
                _ = [event async for event in events]


@_EACH
async def test_an_answer_that_takes_too_long_or_is_too_large_is_cut(
    identity: BedrockIdentity,
) -> None:
    async with (
        running_bedrock() as server,
        open_egress(allow=frozenset({f"127.0.0.1:{server.port}"})) as egress,
        open_bedrock_clients(
            egress, endpoint_url=server.url, plain=aiohttp.ClientTimeout(total=2)
        ) as clients,
    ):
        server.pieces = [b" " * (1024 * 1024)] * 17
        with pytest.raises(AnswerTooLarge):
            await Bedrock(server, clients).converse(identity)
        server.pieces = [b"{"]
        server.lingers_seconds = 30
        with pytest.raises(TimeoutError):
            await Bedrock(server, clients).converse(identity)


@_EACH
async def test_a_client_is_made_once_and_the_longest_unused_makes_room(
    bedrock: Bedrock, identity: BedrockIdentity
) -> None:
    seen: set[int] = set()

    async def use() -> None:
        async with bedrock.clients.client(identity) as client:
            seen.add(id(client))
            await client.converse(**ASKED)

    async with asyncio.TaskGroup() as users:
        for _ in range(16):
            users.create_task(use())
    assert len(seen) == 1
    assert len(bedrock.clients) == 1
    for number in range(4):
        await bedrock.converse(BedrockApiKey(api_key=f"ABSK-other-{number}", region="us-east-1"))
    assert len(bedrock.clients) == 2


async def test_a_client_that_had_to_make_room_serves_who_still_uses_it(bedrock: Bedrock) -> None:
    async with bedrock.clients.client(_KEYS) as client:
        for number in range(4):
            await bedrock.converse(BedrockApiKey(api_key=f"ABSK-{number}", region="us-east-1"))
        answer = await client.converse(**ASKED)
    assert answer["stopReason"] == "end_turn"
    assert bedrock.server.headers[-1]["Authorization"] == signature_of(bedrock.server, 4, _KEYS)


async def test_credentials_share_connections_and_nothing_else(bedrock: Bedrock) -> None:
    for identity in (
        _API_KEY,
        _KEYS,
        BedrockApiKey(api_key="ABSK-b", region="us-east-1"),
        _API_KEY,
    ):
        await bedrock.converse(identity)
    kinds = [each["Authorization"].split()[:2] for each in bedrock.server.headers]
    assert kinds[0] == kinds[3] == ["Bearer", "ABSKtest-key-0001"]
    assert kinds[2] == ["Bearer", "ABSK-b"]
    assert len(bedrock.server.connections) == 1


def test_credentials_do_not_print() -> None:
    for identity in (_API_KEY, _KEYS, _TEMPORARY):
        for part in ("ABSK", "AKIA", "ASIA", "ssss", "tttt", "session-token"):
            assert part not in f"{identity!r} {identity}"


@_EACH
async def test_plain_http_is_refused_unless_the_operator_allows_it(
    listener: Listener, identity: BedrockIdentity
) -> None:
    async with open_egress() as egress:
        url = f"http://127.0.0.1:{listener.port}"
        with pytest.raises(ValueError, match="cannot be called: the address must begin with https"):
            async with open_bedrock_clients(egress, endpoint_url=url):
                pass
        # and a client that was told http all the same does not send either
        async with (
            open_bedrock_clients(egress) as clients,
            clients.client(identity) as client,
        ):
            _redirect(client, url)
            with pytest.raises(EgressForbidden, match="https"):
                await client.converse(**ASKED)
    assert listener.connections == 0


@_EACH
async def test_a_credential_goes_to_the_host_of_its_region_alone(
    listener: Listener, identity: BedrockIdentity
) -> None:
    elsewhere = f"127.0.0.1:{listener.port}"
    async with (
        open_egress(allow=frozenset({elsewhere})) as egress,
        open_bedrock_clients(egress) as clients,
        clients.client(identity) as client,
    ):
        for url in (f"http://{elsewhere}", "https://bedrock-runtime.sa-east-1.amazonaws.com"):
            _redirect(client, url)
            with pytest.raises(EgressForbidden, match="not for this host"):
                await client.converse(**ASKED)
    assert listener.connections == 0


@_EACH
async def test_the_host_of_a_region_that_leads_inside_is_not_connected_to(
    listener: Listener, identity: BedrockIdentity
) -> None:
    names = LyingResolver(listener.port, ("127.0.0.1",))
    async with (
        open_egress(resolver=names) as egress,
        open_bedrock_clients(egress) as clients,
        clients.client(identity) as client,
    ):
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await client.converse(**ASKED)
    assert isinstance(refused.value.os_error, AddressForbidden)
    assert names.asked == 1
    assert listener.connections == 0


async def test_a_region_in_the_operators_host_is_that_of_each_credential() -> None:
    async with running_bedrock() as server:
        allow = frozenset(
            f"bedrock.{identity.region}.internal:{server.port}" for identity in (_API_KEY, _KEYS)
        )
        endpoint_url = f"http://bedrock.{{region}}.internal:{server.port}"
        names = LyingResolver(server.port, ("127.0.0.1",))
        async with (
            open_egress(allow=allow, resolver=names) as egress,
            open_bedrock_clients(egress, endpoint_url=endpoint_url) as clients,
        ):
            for identity in (_API_KEY, _KEYS):
                async with clients.client(identity) as client:
                    await client.converse(**ASKED)
            # a region that the operator does not let out is not called
            async with clients.client(_TEMPORARY) as client:
                with pytest.raises(EgressForbidden):
                    await client.converse(**ASKED)
    assert [each["Host"] for each in server.headers] == [
        f"bedrock.us-east-1.internal:{server.port}",
        f"bedrock.eu-central-1.internal:{server.port}",
    ]
    assert server.headers[1]["Authorization"] == signature_of(
        server, 1, _KEYS, url=f"http://bedrock.eu-central-1.internal:{server.port}"
    )


async def test_a_dispatcher_opens_with_a_region_in_its_host() -> None:
    async with open_providers(
        endpoints={"amazon-bedrock": "https://bedrock.{region}.example.com/aws"},
        egress_allow=frozenset(),
        clock=SystemClock(),
    ) as providers:
        assert "amazon-bedrock" in providers
    with pytest.raises(ValueError, match="amazon-bedrock cannot be called"):
        async with open_providers(
            endpoints={"amazon-bedrock": "http://bedrock.{region}.example.com"},
            egress_allow=frozenset(),
            clock=SystemClock(),
        ):
            pass


@pytest.mark.parametrize(
    "region",
    ["", "us", "us-east-1.evil.example", "us-east-1@evil.example", "../us-east-1", "us-east-1\n"],
)
async def test_what_is_no_region_makes_no_client(bedrock: Bedrock, region: str) -> None:
    with pytest.raises(EgressForbidden, match="not an AWS region"):
        await bedrock.converse(BedrockApiKey(api_key="k", region=region))
    assert len(bedrock.clients) == 0


def test_the_host_of_each_region_is_aws_own() -> None:
    partitions = Loader().load_data("endpoints")["partitions"]
    suffixes = {
        region: partition["dnsSuffix"]
        for partition in partitions
        for region in partition["regions"]
    }
    assert len(suffixes) > 30
    for region, suffix in suffixes.items():
        assert runtime_url(region) == f"https://bedrock-runtime.{region}.{suffix}"


def test_verification_cannot_be_turned_off() -> None:
    with pytest.raises(ValueError, match="always verified"):
        http_session_for(cast("Any", None), frozenset())(verify=False)


@_EACH
async def test_nothing_of_the_machines_own_aws_settings_is_used(
    listener: Listener,
    tmp_path: Path,
    identity: BedrockIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside = f"http://127.0.0.1:{listener.port}"
    called = tmp_path / "called"
    files = tmp_path / ".aws"
    files.mkdir()
    (files / "config").write_text(
        f"[default]\nregion = sa-east-1\nendpoint_url = {inside}\nretry_mode = adaptive\n"
        f"max_attempts = 9\ncredential_process = /bin/touch {called}\n"
    )
    (files / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAFROMFILE\naws_secret_access_key = fromfile\n"
    )
    (files / "models" / "bedrock-runtime" / "2099-01-01").mkdir(parents=True)
    (files / "models" / "bedrock-runtime" / "2099-01-01" / "service-2.json").write_text("{broken")
    hostile = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(files / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(files / "credentials"),
        "AWS_DATA_PATH": str(files / "models"),
        "AWS_ACCESS_KEY_ID": "AKIAFROMENVIRONMENT",
        "AWS_SECRET_ACCESS_KEY": "from-environment",
        "AWS_SESSION_TOKEN": "token-from-environment",
        "AWS_BEARER_TOKEN_BEDROCK": "bearer-from-environment",
        "AWS_AUTH_SCHEME_PREFERENCE": "httpBearerAuth",
        "AWS_REGION": "sa-east-1",
        "AWS_DEFAULT_REGION": "sa-east-1",
        "AWS_PROFILE": "default",
        "AWS_ENDPOINT_URL": inside,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": inside,
        "AWS_CA_BUNDLE": str(tmp_path / "nothing.pem"),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "nothing.pem"),
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": inside,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": inside + "/credentials",
        "AWS_CSM_ENABLED": "true",
        "HTTPS_PROXY": inside,
        "HTTP_PROXY": inside,
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    async with (
        _Opened(files) as opened,
        running_bedrock() as server,
        open_egress(allow=frozenset({f"127.0.0.1:{server.port}"})) as egress,
        open_bedrock_clients(egress, endpoint_url=server.url) as clients,
    ):
        server.status = 503
        with pytest.raises(ClientError):
            await Bedrock(server, clients).converse(identity)
        async with open_bedrock_clients(egress) as of_region, of_region.client(identity) as client:
            assert cast("Any", client).meta.endpoint_url == runtime_url(identity.region)
    (headers,) = server.headers
    if isinstance(identity, BedrockApiKey):
        assert headers["Authorization"] == f"Bearer {identity.api_key}"
    else:
        assert headers["Authorization"] == signature_of(server, 0, identity)
        assert headers.get("X-Amz-Security-Token") == identity.session_token
    assert "environment" not in str(headers).lower()
    assert not called.exists()
    assert opened.paths == []
    assert listener.connections == 0


class _Opened:
    """Notes what is opened or listed below a folder, by the interpreter's own audit."""

    def __init__(self, folder: Path) -> None:
        self.paths: list[str] = []
        self._folder = str(folder)
        self._is_watching = False
        sys.addaudithook(self._hear)  # for good: hooks cannot be taken away

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._is_watching and event in {"open", "os.listdir", "os.scandir"}:
            path = str(arguments[0])
            if path.startswith(self._folder):
                self.paths.append(path)

    async def __aenter__(self) -> Self:
        self._is_watching = True
        return self

    async def __aexit__(self, *_ending: object) -> None:
        self._is_watching = False


def _redirect(client: BedrockClient, url: str) -> None:
    """As if botocore, or somebody's hook, sent this client elsewhere at the last moment."""

    def elsewhere(request: Any, **_event: object) -> None:
        path = request.url.partition("://")[2].partition("/")[2]
        request.url = f"{url}/{path}"

    cast("Any", client).meta.events.register_last("before-send.bedrock-runtime", elsewhere)
