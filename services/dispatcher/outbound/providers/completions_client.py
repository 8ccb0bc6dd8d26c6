"""One call of a provider: sent, read, and every way it can fail made a value.

What the bytes mean is a Dialect's to say; OpenAI's is `openai_dialect.py`, Anthropic's
`anthropic/messages_dialect.py`.
"""

from collections.abc import AsyncGenerator, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from typing_extensions import override

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import (
    AnswerNamed,
    StreamEnded,
    StreamPiece,
    UsageSeen,
    WholeReply,
)
from services.dispatcher.outbound.egress import (
    ANSWER_BYTES_MAX,
    ERROR_BYTES_MAX,
    PLAIN,
    STREAM,
    AddressForbidden,
    AnswerTooLarge,
    Egress,
    ends_within,
    read_whole,
)
from services.dispatcher.outbound.egress_addresses import EgressForbidden
from services.dispatcher.outbound.providers.failures import FailureReader
from shared.clock import Clock
from shared.events.replies import ReplyDelta

END_OF_BODY_SECONDS: Final = 0.05
"""How long a stream that said its last word may take to end, for its connection to be used again."""

BROKEN: Final = (aiohttp.ClientError, TimeoutError, OSError, EgressForbidden, AnswerTooLarge)
"""What egress raises where no whole answer came; `broken` says what each means."""
_NOT_JSON: Final = ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200, code="not_json")
_OK: Final = range(200, 300)


class PieceReader(Protocol):
    """Reads one stream. After a StreamEnded or a ProviderFailure `ended` is True, and it is over."""

    @property
    def ended(self) -> bool:
        """Whether the last piece is out."""
        ...

    def feed(self, piece: bytes) -> list[StreamPiece]:
        """The pieces that these bytes complete."""
        ...

    def end(self) -> list[StreamPiece]:
        """The pieces that the end of the body completes; the last one ends the stream."""
        ...

    def break_off(self, failure: ProviderFailure) -> StreamPiece:
        """The last piece when the connection breaks; all well if all was said before."""
        ...


class Dialect(Protocol):
    """What a provider's answers mean. `failures` reads the errors that may stand in a 200."""

    def whole(self, body: bytes, failures: FailureReader) -> WholeReply | ProviderFailure:
        """A body with a status of success."""
        ...

    def pieces(self, failures: FailureReader) -> PieceReader:
        """The reader of one stream."""
        ...


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that goes out, and what is needed to read what comes back.

    `hosts` are the `host:port` that the credential is for: those that its own format names, or that
    the operator put in their place; egress sends it nowhere else. `secret` is the key in `headers`,
    so that no error repeats it, and neither do errors repeat `more_secrets`. It does not print.
    """

    url: str
    hosts: frozenset[str]
    headers: Mapping[str, str]
    body: bytes
    secret: str
    dialect: Dialect
    more_secrets: tuple[str, ...] = ()

    @override
    def __repr__(self) -> str:
        return f"Call(url={self.url!r})"


class CompletionsClient:
    """Makes calls. A ProviderFailure in place of a call comes back as it is."""

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        *,
        plain: aiohttp.ClientTimeout = PLAIN,
        stream: aiohttp.ClientTimeout = STREAM,
    ) -> None:
        """`clock` is for `Retry-After` when it is a date; `plain` and `stream` are the deadlines."""
        self._egress = egress
        self._clock = clock
        self._plain_limits = plain
        self._stream_limits = stream

    async def complete(self, call: Call | ProviderFailure) -> WholeReply | ProviderFailure:
        """Call without streaming."""
        if isinstance(call, ProviderFailure):
            return call
        try:
            response = await self._send(call, self._plain_limits)
        except BROKEN as error:
            return broken(error)
        try:
            if response.status not in _OK:
                return await self._refused(response, _failures(call))
            return await _whole(response, call)
        finally:
            # A body that was read to its end has given its connection back; any other is cut off.
            response.close()

    async def stream(self, call: Call | ProviderFailure) -> AsyncGenerator[StreamPiece, None]:
        """Call and yield pieces as they come."""
        if isinstance(call, ProviderFailure):
            yield call
            return
        try:
            response = await self._send(call, self._stream_limits)
        except BROKEN as error:
            yield broken(error)
            return
        try:
            if response.status not in _OK:
                yield await self._refused(response, _failures(call))
            elif response.headers.get("Content-Type", "").startswith("application/json"):
                for piece in _as_pieces(await _whole(response, call)):
                    yield piece
            else:
                reader = call.dialect.pieces(_failures(call))
                while not reader.ended:
                    for piece in await _next_pieces(response, reader):
                        if isinstance(piece, StreamEnded):
                            await ends_within(response, seconds=END_OF_BODY_SECONDS)
                        yield piece
        finally:
            response.close()

    async def ask(
        self, url: str, *, hosts: frozenset[str], headers: Mapping[str, str], secret: str
    ) -> ProviderFailure | None:
        """Ask for something that only a good key is told; None when the provider answers it.

        What it answers is not looked at beyond its being JSON: an HTML page with status 200 comes
        from a proxy in between. `secret` is the key in `headers`, `hosts` where it may go.
        """
        try:
            response = await self._egress.send(
                "GET", url, hosts=hosts, headers=headers, body=None, limits=self._plain_limits
            )
        except BROKEN as error:
            return broken(error)
        try:
            if response.status not in _OK:
                return await self._refused(response, FailureReader(secret))
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return None if is_json else _NOT_JSON
        finally:
            response.close()

    async def exchange(
        self,
        url: str,
        *,
        hosts: frozenset[str],
        headers: Mapping[str, str],
        body: bytes,
        secrets: tuple[str, ...],
    ) -> bytes | ProviderFailure:
        """Post what is no completion; the body of a good answer. No error repeats the `secrets`."""
        try:
            response = await self._egress.post(
                url, hosts=hosts, headers=headers, body=body, limits=self._plain_limits
            )
        except BROKEN as error:
            return broken(error)
        try:
            if response.status not in _OK:
                return await self._refused(response, FailureReader(secrets[0], secrets[1:]))
            return await read_whole(response, bytes_max=ANSWER_BYTES_MAX)
        except BROKEN as error:
            return replace(broken(error), status=response.status)
        finally:
            response.close()

    def _send(
        self, call: Call, limits: aiohttp.ClientTimeout
    ) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        return self._egress.post(
            call.url, hosts=call.hosts, headers=call.headers, body=call.body, limits=limits
        )

    async def _refused(
        self, response: aiohttp.ClientResponse, failures: FailureReader
    ) -> ProviderFailure:
        try:
            body = await read_whole(response, bytes_max=ERROR_BYTES_MAX)
        except BROKEN:
            body = b""  # the status says enough
        return failures.from_answer(response.status, response.headers, body, self._clock.now())


async def _whole(response: aiohttp.ClientResponse, call: Call) -> WholeReply | ProviderFailure:
    try:
        body = await read_whole(response, bytes_max=ANSWER_BYTES_MAX)
    except BROKEN as error:
        return replace(broken(error), status=response.status)
    return call.dialect.whole(body, _failures(call))


def _failures(call: Call) -> FailureReader:
    return FailureReader(call.secret, call.more_secrets)


async def _next_pieces(response: aiohttp.ClientResponse, reader: PieceReader) -> list[StreamPiece]:
    try:
        received = await response.content.readany()
    except BROKEN as error:
        return [reader.break_off(replace(broken(error), status=response.status))]
    return reader.feed(received) if received else reader.end()


def _as_pieces(reply: WholeReply | ProviderFailure) -> list[StreamPiece]:
    """A whole answer to a call that asked for a stream."""
    if isinstance(reply, ProviderFailure):
        return [reply]
    pieces: list[StreamPiece] = []
    if reply.upstream_id is not None:
        pieces.append(AnswerNamed(reply.upstream_id))
    pieces.append(ReplyDelta(choices=reply.choices))
    if reply.usage is not None:
        pieces.append(UsageSeen(reply.usage))
    ended = StreamEnded(
        usage=reply.usage,
        service_tier=reply.service_tier,
        system_fingerprint=reply.system_fingerprint,
    )
    return [*pieces, ended]


def broken(error: Exception) -> ProviderFailure:
    """What it means that no whole answer came. Nothing of the library's own text is passed on."""
    match error:
        case (
            EgressForbidden()
            | aiohttp.InvalidURL()
            | aiohttp.ClientConnectorError(os_error=AddressForbidden())
        ):
            return _FORBIDDEN
        case AnswerTooLarge():
            return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, code="answer_too_large")
        case aiohttp.ConnectionTimeoutError():
            return ProviderFailure(failure=FailureClass.UNREACHABLE, code="connect_timeout")
        case TimeoutError():
            return ProviderFailure(failure=FailureClass.TIMED_OUT)
        case aiohttp.ClientResponseError():
            return ProviderFailure(failure=FailureClass.PROVIDER_ERROR, code="bad_http")
        case _:
            return ProviderFailure(failure=FailureClass.UNREACHABLE)


_FORBIDDEN: Final = ProviderFailure(failure=FailureClass.MISCONFIGURED, code="address_forbidden")
