"""The ways on which something of ours could reach an address: egress itself, botocore, an adapter.

Each raises what it was refused with; an adapter answers with a ProviderFailure.
"""

from typing import Final

import aiohttp
from botocore.awsrequest import AWSRequest

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.egress import PLAIN, Egress
from services.dispatcher.outbound.egress_addresses import EgressForbidden, authority_of
from services.dispatcher.outbound.egress_botocore import http_session_for
from services.dispatcher.outbound.providers.azure import Azure
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from shared.clock import SystemClock
from tests.contract.providers.builders import attempt, azure_secret, request

BODY: Final = b"{}"


def hosts_of(url: str) -> frozenset[str]:
    """A credential that is for the address, so that nothing but the address is judged."""
    try:
        return frozenset({authority_of(url)})
    except EgressForbidden:
        return frozenset()


async def by_egress(egress: Egress, url: str) -> int:
    response = await egress.post(
        url, hosts=hosts_of(url), headers={"api-key": "k"}, body=BODY, limits=PLAIN
    )
    response.close()
    return response.status


async def by_botocore(egress: Egress, url: str) -> int:
    sent = AWSRequest(method="POST", headers={"Authorization": "Bearer k"}, data=BODY)
    prepared = sent.prepare()
    # set afterwards, since preparing would tidy the address up
    prepared.url = url
    async with http_session_for(egress, hosts_of(url))() as session:
        status: int = (await session.send(prepared)).status_code
        return status


async def by_azure(egress: Egress, url: str) -> WholeReply | ProviderFailure:
    adapter = Azure(CompletionsClient(egress, SystemClock()))
    return await adapter.complete(attempt("azure"), azure_secret(url), request())


def refused_for(error: BaseException) -> str:
    """The reason that a refusal gives."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error)
    return str(error)
