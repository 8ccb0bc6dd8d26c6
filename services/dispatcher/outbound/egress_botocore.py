"""botocore's way out: an HTTP session for its clients that sends through the one guarded egress.

A client makes its session itself, from `AioConfig.http_session_cls`; `http_session_for` gives what to
put there. Connections, gates and limits are egress' own: nothing of botocore's proxies, certificates,
redirects, timeouts and pools is used.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse

from services.dispatcher.outbound.egress import (
    ANSWER_BYTES_MAX,
    ERROR_BYTES_MAX,
    PLAIN,
    STREAM,
    AnswerTooLarge,
    Egress,
    read_whole,
)

_OK: Final = range(200, 300)


class PreparedRequest(Protocol):
    """What botocore hands over to be sent: `botocore.awsrequest.AWSPreparedRequest`."""

    method: str
    url: str
    headers: Mapping[str, str | bytes]
    body: bytes | str | None
    stream_output: bool


class GuardedHttpSession:
    """One client's session. Closing it ends no connection: those belong to the egress."""

    def __init__(
        self,
        egress: Egress,
        hosts: frozenset[str],
        *,
        plain: aiohttp.ClientTimeout,
        stream: aiohttp.ClientTimeout,
    ) -> None:
        """`hosts` are the `host:port` that the client's credential is for."""
        self._egress = egress
        self._hosts = hosts
        self._plain_limits = plain
        self._stream_limits = stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is ours to close."""

    async def close(self) -> None:
        """Nothing is ours to close."""

    async def send(self, request: PreparedRequest) -> AioAWSResponse:
        """Send once. The body is read, but for an event stream that was granted: its reader does.

        Raises EgressForbidden, aiohttp.ClientError, TimeoutError, AnswerTooLarge, as egress does.
        """
        response = await self._egress.send(
            request.method,
            request.url,
            hosts=self._hosts,
            headers={name: _text(value) for name, value in request.headers.items()},
            body=request.body.encode() if isinstance(request.body, str) else request.body,
            limits=self._stream_limits if request.stream_output else self._plain_limits,
        )
        answer = AioAWSResponse(request.url, response.status, _headers(response), response)
        if request.stream_output and response.status in _OK:
            return answer
        try:
            answer._content = await _body(response)  # noqa: SLF001 - where botocore keeps what was read
        finally:
            response.close()
        return answer


def http_session_for(
    egress: Egress,
    hosts: frozenset[str],
    *,
    plain: aiohttp.ClientTimeout = PLAIN,
    stream: aiohttp.ClientTimeout = STREAM,
) -> Callable[..., GuardedHttpSession]:
    """What to give a client as `http_session_cls`; its credential goes to `hosts` and nowhere else."""

    def make(*, verify: bool | str | None = None, **_botocores_own: object) -> GuardedHttpSession:
        if verify is False:
            raise ValueError("TLS is always verified")
        return GuardedHttpSession(egress, hosts, plain=plain, stream=stream)

    return make


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.status in _OK:
        return await read_whole(response, bytes_max=ANSWER_BYTES_MAX)
    try:
        return await read_whole(response, bytes_max=ERROR_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError, AnswerTooLarge):
        return b""  # the status says enough


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """As botocore's parsers expect them: names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value
