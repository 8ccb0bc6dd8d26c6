"""Clients of Amazon Bedrock's runtime, kept by credential and region.

A client costs milliseconds of CPU and its models megabytes, so there is one session for all of them
and a client is kept for the next call. Nothing of the machine's own AWS settings is looked at
(`botocore_session.py`), and everything is sent through egress.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import aioboto3
import aiohttp

from services.dispatcher.outbound.bedrock_client import (
    AwsCredentials,
    BedrockApiKey,
    BedrockClient,
    BedrockIdentity,
    open_bedrock_client,
    runtime_url,
)
from services.dispatcher.outbound.botocore_session import hermetic_session
from services.dispatcher.outbound.egress import PLAIN, STREAM, Egress
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.egress_botocore import http_session_for

CLIENTS_MAX: Final = 256
"""Clients that are kept; past it the ones longest unused go."""
_ANY_REGION: Final = "us-east-1"


@dataclass(slots=True)
class _Kept:
    """A client, how many use it now, and how to close it."""

    client: BedrockClient
    opened: AsyncExitStack
    uses: int = 0
    is_kept: bool = True


class BedrockClients:
    """Lends clients. Built by `open_bedrock_clients`."""

    def __init__(
        self,
        session: aioboto3.Session,
        egress: Egress,
        *,
        endpoint_url: str | None,
        clients_max: int,
        plain: aiohttp.ClientTimeout,
        stream: aiohttp.ClientTimeout,
    ) -> None:
        """`session` has its models read; `endpoint_url` stands for the hosts of all regions.

        A `{region}` in it is replaced by the credential's.
        """
        self._session = session
        self._egress = egress
        self._endpoint_url = endpoint_url
        self._clients_max = clients_max
        self._plain_limits = plain
        self._stream_limits = stream
        self._kept: OrderedDict[BedrockIdentity, _Kept] = OrderedDict()
        self._making = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @asynccontextmanager
    async def client(self, identity: BedrockIdentity) -> AsyncIterator[BedrockClient]:
        """The client of a credential, made when there is none, for as long as the block lasts.

        Keep it until a stream has ended: a client that has to make room is closed when nobody uses it
        any more. Raises EgressForbidden for an identity whose region is none. What the client's own
        calls raise is botocore's ClientError for answers, and what egress raises.
        """
        kept = self._kept.get(identity) or await self._make(identity)
        kept.uses += 1
        if kept.is_kept:
            self._kept.move_to_end(identity)
        try:
            yield kept.client
        finally:
            kept.uses -= 1
            await _close_if_done(kept)

    async def close(self) -> None:
        """Close all clients that nobody uses; the others close when their last use ends."""
        while self._kept:
            await self._let_go()

    async def _make(self, identity: BedrockIdentity) -> _Kept:
        # Making one does not wait for anything outside, so one at a time is as fast as many.
        async with self._making:
            known = self._kept.get(identity)
            if known is not None:
                return known
            of_region = runtime_url(identity.region)
            endpoint_url = in_region(self._endpoint_url or of_region, identity.region)
            opened = AsyncExitStack()
            client = await opened.enter_async_context(
                open_bedrock_client(
                    self._session,
                    identity,
                    endpoint_url=endpoint_url,
                    http_session_cls=http_session_for(
                        self._egress,
                        frozenset({authority_of(endpoint_url)}),
                        plain=self._plain_limits,
                        stream=self._stream_limits,
                    ),
                )
            )
            made = self._kept[identity] = _Kept(client, opened)
            while len(self._kept) > self._clients_max:
                await self._let_go()
            return made

    async def _let_go(self) -> None:
        _, oldest = self._kept.popitem(last=False)
        oldest.is_kept = False
        await _close_if_done(oldest)


@asynccontextmanager
async def open_bedrock_clients(
    egress: Egress,
    *,
    endpoint_url: str | None = None,
    clients_max: int = CLIENTS_MAX,
    plain: aiohttp.ClientTimeout = PLAIN,
    stream: aiohttp.ClientTimeout = STREAM,
) -> AsyncIterator[BedrockClients]:
    """Read botocore's models in a thread, then lend clients; leaving closes them.

    `endpoint_url` is PROVIDER_ENDPOINTS' of `amazon-bedrock`; it may be http where EGRESS_ALLOW has
    its `host:port`, and `{region}` in it stands for the region of each credential. Raises ValueError
    for one that egress would refuse.
    """
    refusal = None if endpoint_url is None else egress.refusal(in_region(endpoint_url, _ANY_REGION))
    if refusal is not None:
        raise ValueError(f"the base URL of amazon-bedrock cannot be called: {refusal}")
    session = await asyncio.to_thread(_session_with_models)
    clients = BedrockClients(
        session,
        egress,
        endpoint_url=endpoint_url,
        clients_max=clients_max,
        plain=plain,
        stream=stream,
    )
    try:
        yield clients
    finally:
        await clients.close()


def in_region(endpoint_url: str, region: str) -> str:
    """Where a region is called. The region is one, so it cannot turn the address into another."""
    return endpoint_url.replace("{region}", region)


async def _close_if_done(kept: _Kept) -> None:
    if not kept.is_kept and kept.uses == 0:
        await kept.opened.aclose()


def _session_with_models() -> aioboto3.Session:
    """A session that has made a client of both kinds, so that it reads no file any more."""
    session = hermetic_session()
    making = _make_one_of_each(session)
    # Making a client waits for nothing but files, so it needs no loop; were it to wait one day, this
    # process would not start.
    with contextlib.suppress(StopIteration):
        making.send(None)
        raise RuntimeError("botocore waits for something while it makes a client")
    return session


async def _make_one_of_each(session: aioboto3.Session) -> None:
    for identity in (
        BedrockApiKey(api_key="unused", region=_ANY_REGION),
        AwsCredentials(access_key_id="unused", secret_access_key="unused", region=_ANY_REGION),  # noqa: S106 - never sent
    ):
        async with open_bedrock_client(
            session,
            identity,
            endpoint_url=runtime_url(_ANY_REGION),
            http_session_cls=_NeverSends,
        ):
            pass


class _NeverSends:
    """The HTTP session of a client that is made for its files alone."""

    def __init__(self, **_botocores_own: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_ending: object) -> None:
        pass
