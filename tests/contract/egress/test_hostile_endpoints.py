"""Server-side request forgery: none of these addresses is connected to, on any way out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.egress import (
    AddressForbidden,
    AnswerTooLarge,
    Egress,
    open_egress,
)
from services.dispatcher.outbound.egress_addresses import EgressForbidden, is_public
from services.key_vault.domain.formats.azure_endpoint import problem_of_endpoint
from tests.contract.egress.conftest import Listener, LyingResolver
from tests.contract.egress.hostile import BY_NAME, BY_TEXT, LYING_NAMES, PATH
from tests.contract.egress.ways import by_azure, by_botocore, by_egress, refused_for
from tests.contract.providers.handwritten import running_handwritten

Way = Callable[[Egress, str], Awaitable[int]]
WAYS: Final = (by_egress, by_botocore)
_FORBIDDEN: Final = ProviderFailure(failure=FailureClass.MISCONFIGURED, code="address_forbidden")
_INSIDE: Final = ("127.0.0.1",)


def _at(url: str, listener: Listener) -> str:
    return url.replace("{port}", str(listener.port)) + PATH


def test_there_are_enough_of_them() -> None:
    assert len({url for url, _ in BY_TEXT}) == len(BY_TEXT) > 80
    assert not all(is_public(address) for answers in BY_NAME for address in answers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("url", "reason"), BY_TEXT)
async def test_a_hostile_address_is_refused_for_what_it_says(
    listener: Listener, url: str, reason: str, way: Way
) -> None:
    names = LyingResolver(listener.port, _INSIDE)
    async with open_egress(resolver=names) as egress:
        with pytest.raises(EgressForbidden) as refused:
            await way(egress, _at(url, listener))
    assert reason in refused_for(refused.value)
    assert "127.0.0.1" not in refused_for(refused.value)
    assert names.asked == 0
    assert listener.connections == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answers", BY_NAME)
@pytest.mark.parametrize("url", LYING_NAMES)
async def test_a_public_name_that_leads_inside_is_refused_where_it_leads(
    listener: Listener, url: str, answers: Sequence[str], way: Way
) -> None:
    async with open_egress(resolver=LyingResolver(listener.port, answers)) as egress:
        assert egress.refusal(url + PATH) is None
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await way(egress, url + PATH)
    assert isinstance(refused.value.os_error, AddressForbidden)
    assert refused_for(refused.value) == "[Errno 13] not a public address"
    assert listener.connections == 0


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_changes_between_check_and_connection_is_judged_at_the_connection(
    listener: Listener, way: Way
) -> None:
    names = LyingResolver(listener.port, ("1.1.1.1",), _INSIDE)
    checked = await names.resolve("x.openai.azure.com")
    assert all(is_public(each["host"]) for each in checked)
    async with open_egress(resolver=names) as egress:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await way(egress, LYING_NAMES[0] + PATH)
    assert isinstance(refused.value.os_error, AddressForbidden)
    assert names.asked == 2
    assert listener.connections == 0


@pytest.mark.parametrize("url", [url for url, _ in BY_TEXT])
async def test_what_a_user_pastes_for_azure_is_refused_on_saving_and_on_calling(
    listener: Listener, url: str
) -> None:
    pasted = _at(url, listener)
    problem = problem_of_endpoint(pasted, frozenset())
    # punycode that stands for nothing is for the dispatcher alone to find out
    assert problem is not None or "xn--" in url
    assert "127.0.0.1" not in (problem or "")
    async with open_egress(resolver=LyingResolver(listener.port, _INSIDE)) as egress:
        answer = await by_azure(egress, pasted)
    assert answer == _FORBIDDEN
    assert listener.connections == 0


@pytest.mark.parametrize("answers", BY_NAME)
async def test_an_azure_host_that_leads_inside_passes_saving_and_is_refused_on_calling(
    listener: Listener, answers: Sequence[str]
) -> None:
    pasted = LYING_NAMES[0] + PATH
    assert problem_of_endpoint(pasted, frozenset()) is None
    async with open_egress(resolver=LyingResolver(listener.port, answers)) as egress:
        assert await by_azure(egress, pasted) == _FORBIDDEN
    assert listener.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}", "//127.0.0.1:{port}"])
async def test_a_redirect_to_the_inside_is_not_followed(
    listener: Listener, status: int, where: str
) -> None:
    async with running_handwritten() as outside:
        outside.status = status
        outside.answer_headers = {"Location": _at(where, listener)}
        pairs = {f"127.0.0.1:{outside.port}", f"127.0.0.1:{listener.port}"}
        async with open_egress(allow=frozenset(pairs)) as egress:
            for way in WAYS:
                assert await way(egress, outside.url + PATH) == status
            answer = await by_azure(egress, outside.url + PATH)
    assert isinstance(answer, ProviderFailure)
    assert replace(answer, raw=None) == ProviderFailure(
        failure=FailureClass.MISCONFIGURED, status=status
    )
    assert len(outside.paths) == 3
    assert listener.connections == 0


@pytest.mark.parametrize("way", WAYS)
async def test_the_listener_would_have_been_reached(listener: Listener, way: Way) -> None:
    """Where the operator opened the guard, the same lie ends at the listener."""
    allow = frozenset({"x.openai.azure.com:80"})
    names = LyingResolver(listener.port, _INSIDE)
    async with open_egress(allow=allow, resolver=names) as egress:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await way(egress, "http://x.openai.azure.com" + PATH)
    assert listener.connections == 1


@pytest.mark.parametrize("way", WAYS)
async def test_proxies_of_the_environment_are_not_used(
    listener: Listener, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    async with running_handwritten() as provider:
        pair = f"127.0.0.1:{provider.port}"
        async with open_egress(allow=frozenset({pair})) as egress:
            assert await way(egress, provider.url + PATH) == web.HTTPOk.status_code
    assert len(provider.paths) == 1
    assert listener.connections == 0


async def test_an_answer_without_end_is_cut_on_the_way_of_botocore() -> None:
    async with running_handwritten() as provider:
        provider.pieces = [b"x" * (1024 * 1024)] * 17
        async with open_egress(allow=frozenset({f"127.0.0.1:{provider.port}"})) as egress:
            with pytest.raises(AnswerTooLarge):
                await by_botocore(egress, provider.url + PATH)
            provider.status = 500
            assert await by_botocore(egress, provider.url + PATH) == 500
